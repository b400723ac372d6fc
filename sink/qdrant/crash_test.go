package qdrant

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	"outgrow/pipeline/pipetest"
)

// crashCorpus is what the child of the kill test copies.
func crashCorpus() *pipetest.Memory[*pipeline.Vector] {
	return pipetest.NewMemory(pipeline.Limits{Records: 40}, corpus(4000, 24, 11)...)
}

// TestMain plays the child of the kill test.
func TestMain(m *testing.M) {
	state := os.Getenv("CRASH_TEST_STATE")
	if state == "" {
		os.Exit(m.Run())
	}
	pipetest.Doomed()
	var cfg env.QdrantConfig
	err := json.Unmarshal([]byte(os.Getenv("CRASH_TEST_STORE")), &cfg)
	if err == nil {
		err = crashCopy(context.Background(), cfg, state)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func crashCopy(ctx context.Context, cfg env.QdrantConfig, state string) error {
	j, err := localstate.Open(ctx, state, pipeline.Vectors)
	if err != nil {
		return err
	}
	defer j.Close()
	if _, err := j.Begin(ctx, pipeline.Run{ID: "t", Source: pipeline.Identity{Stable: "s", State: "1"}, Target: "t"}); err != nil {
		return err
	}
	s, err := Open(ctx, Config{Store: cfg, Journal: j})
	if err != nil {
		return err
	}
	defer s.Close()
	return pipeline.Copy(ctx, pipeline.Job[*pipeline.Vector]{Source: crashCorpus(), Sink: s, Journal: j, Transforms: transforms(cfg), Workers: 3, PartBytes: 100_000})
}

// The writer's process is killed at random moments and started again, until it
// ends by itself: everything is there once.
func TestKilledAtRandomMoments(t *testing.T) {
	both(t, func(t *testing.T, multitenancy bool) {
		cfg, state := store(t, multitenancy), t.TempDir()
		raw, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		pipetest.KillChild(t, []string{"CRASH_TEST_STATE=" + state, "CRASH_TEST_STORE=" + string(raw)}, 20*time.Millisecond, 120*time.Millisecond)
		if err := crashCopy(t.Context(), cfg, state); err != nil {
			t.Fatal(err)
		}
		verify(t, crashCorpus(), cfg, nil)
		if n := threshold(t, cfg, "knowledge-bases"); n != 10000 {
			t.Errorf("the indexing threshold is %d", n)
		}
	})
}
