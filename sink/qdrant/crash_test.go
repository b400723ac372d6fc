package qdrant

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
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
	kills := 10
	if n, err := strconv.Atoi(os.Getenv("OUTGROW_KILLS")); err == nil {
		kills = n
	}
	both(t, func(t *testing.T, multitenancy bool) {
		cfg, state := store(t, multitenancy), t.TempDir()
		raw, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		killed, ended := 0, false
		for killed < kills && !ended {
			c := exec.CommandContext(t.Context(), os.Args[0])
			c.Env = append(os.Environ(), "CRASH_TEST_STATE="+state, "CRASH_TEST_STORE="+string(raw))
			var said strings.Builder
			c.Stderr = &said
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- c.Wait() }()
			select {
			case err := <-done:
				if ended = true; err != nil {
					t.Fatalf("%v: %s", err, said.String())
				}
			case <-time.After(100*time.Millisecond + time.Duration(rand.Int64N(int64(400*time.Millisecond)))):
				_ = c.Process.Kill()
				<-done
				killed++
			}
		}
		t.Logf("killed %d times", killed)
		if err := crashCopy(t.Context(), cfg, state); err != nil {
			t.Fatal(err)
		}
		if killed == 0 {
			t.Error("it was never killed")
		}
		verify(t, crashCorpus(), cfg, nil)
		if n := threshold(t, cfg, "knowledge-bases"); n != 10000 {
			t.Errorf("the indexing threshold is %d", n)
		}
	})
}
