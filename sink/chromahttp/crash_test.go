package chromahttp

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"outgrow/mappings/chromahttp"
	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/chromahttp"
	"outgrow/testdata/servers"
)

// crashCorpus is what the child of the kill test copies.
func crashCorpus() *pipetest.Memory[*pipeline.Vector] {
	return pipetest.NewMemory(pipeline.Limits{Records: 20}, corpus(4000, 16, 11)...)
}

// TestMain plays the child of the kill test.
func TestMain(m *testing.M) {
	state := os.Getenv("CRASH_TEST_STATE")
	if state == "" {
		os.Exit(m.Run())
	}
	pipetest.Doomed()
	var cfg env.ChromaConfig
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

func crashCopy(ctx context.Context, cfg env.ChromaConfig, state string) error {
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
	return pipeline.Copy(ctx, pipeline.Job[*pipeline.Vector]{Source: crashCorpus(), Sink: s, Journal: j,
		Transforms: []pipeline.Transform[*pipeline.Vector]{chromahttp.Transform(cfg)}, Workers: 3, PartBytes: 100_000})
}

// The writer's process is killed at random moments and started again: in the
// end everything is there once.
func TestKilledAtRandomMoments(t *testing.T) {
	cfg, state := store(servers.Chroma(t)), t.TempDir()
	raw, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	pipetest.KillChild(t, []string{"CRASH_TEST_STATE=" + state, "CRASH_TEST_STORE=" + string(raw)}, 50*time.Millisecond, 450*time.Millisecond)
	if err := crashCopy(t.Context(), cfg, state); err != nil {
		t.Fatal(err)
	}
	units, err := pipeline.Diff(t.Context(), pipeline.Comparison[*pipeline.Vector]{Source: crashCorpus(),
		Transforms: []pipeline.Transform[*pipeline.Vector]{chromahttp.Transform(cfg)},
		Target:     openReader(t, reader.Config{Store: cfg, Temp: t.TempDir()}), Equal: chromahttp.Compare(cfg), Journal: (&pipetest.MemoryState{}).Open(),
		Report: func(d pipeline.Difference) { t.Errorf("%+v", d) }})
	if err != nil {
		t.Fatal(err)
	}
	var all int64
	for _, u := range units {
		if all += u.Target; u.Different() || u.Source != u.Target {
			t.Errorf("%+v", u)
		}
	}
	if all != 4000 {
		t.Errorf("%d records, not 4000", all)
	}
}
