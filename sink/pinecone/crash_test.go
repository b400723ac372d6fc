package pinecone

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	"outgrow/pipeline/pipetest"
	"outgrow/testdata/servers"
)

// TestMain plays the child of the kill test: it copies the corpus.
func TestMain(m *testing.M) {
	what := strings.Split(os.Getenv("PINECONE_TEST_CHILD"), "|")
	if len(what) != 3 {
		os.Exit(m.Run())
	}
	cfg := Config{Store: env.PineconeConfig{APIKey: "k", Environment: "us-east-1", Cloud: "aws", Metric: "cosine", Dimension: 16, Controller: what[0], Index: what[1]}}
	if err := move(cfg, what[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// move copies as the command does, with its state in a folder.
func move(cfg Config, state string) error {
	ctx := context.Background()
	j, err := localstate.Open(ctx, state, pipeline.Vectors)
	if err != nil {
		return err
	}
	defer j.Close()
	cfg.Journal = j
	s, err := Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := j.Begin(ctx, pipeline.Run{ID: "t", Source: pipeline.Identity{Stable: "s", State: "1"}, Target: "t"}); err != nil {
		return err
	}
	src := corpus(600, 16, 3)
	src.batch = 20
	return pipeline.Copy(ctx, job(src, s, j))
}

// The writer is killed at random moments; the same command ends what it began,
// and the index is what an undisturbed run makes.
func TestKilledOnFake(t *testing.T) {
	fake := servers.OwnFakePinecone(t)
	whole := config(fake, "whole", 16)
	if err := move(whole, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	want := fake.Records(whole.Store.Index)
	if len(want) != 600 {
		t.Fatalf("%d records", len(want))
	}
	cfg, state := config(fake, "killed", 16), t.TempDir()
	fake.Slow(60 * time.Millisecond)
	killed, partial := 0, map[int]bool{}
	for range pipetest.Kills(t) {
		c := exec.CommandContext(t.Context(), os.Args[0])
		c.Env = append(os.Environ(), "PINECONE_TEST_CHILD="+fake.Controller+"|"+cfg.Store.Index+"|"+state)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = c.Wait(); close(ended) }()
		// Some time after it has written something, if it does.
		before := len(fake.Records(cfg.Store.Index))
		for wait := time.After(2 * time.Minute); len(fake.Records(cfg.Store.Index)) == before; {
			select {
			case <-time.After(5 * time.Millisecond):
				continue
			case <-ended:
			case <-wait:
			}
			break
		}
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		if c.Process.Kill() == nil {
			killed++
		}
		<-ended
		if n := len(fake.Records(cfg.Store.Index)); n > 0 && n < len(want) {
			partial[n] = true
		}
	}
	if len(partial) == 0 {
		t.Error("no kill left anything half done")
	}
	fake.Slow(0)
	if err := move(cfg, state); err != nil {
		t.Fatal(err)
	}
	if got := fake.Records(cfg.Store.Index); !maps.Equal(got, want) {
		t.Errorf("%d records after the kills, not the same %d", len(got), len(want))
	}
	t.Logf("%d kills left the index half full %d times", killed, len(partial))
}
