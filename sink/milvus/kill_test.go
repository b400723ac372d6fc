package milvus

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	"outgrow/pipeline/pipetest"
)

// TestMain plays the child of the kill test: it copies until it is killed.
func TestMain(m *testing.M) {
	target, ok := os.LookupEnv("MILVUS_KILL_TARGET")
	if !ok {
		os.Exit(m.Run())
	}
	pipetest.Doomed()
	if err := victim(target); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

const killed = 1500 // records of the largest collection

func victim(target string) error {
	ctx := context.Background()
	part := strings.Split(target, "|") // uri, database, shared, state
	src := pipetest.NewMemory(pipeline.Limits{Records: 10}, corpus(killed, 8)...)
	j, err := localstate.Open(ctx, part[3], pipeline.Vectors, "source")
	if err != nil {
		return err
	}
	id, err := src.Identity(ctx)
	if err != nil {
		return err
	}
	if _, err := j.Begin(ctx, pipeline.Run{ID: "k", Source: id, Target: "t"}); err != nil {
		return err
	}
	s, err := Open(ctx, Config{Store: at(part[0], part[1], part[2] == "true"), Journal: j})
	if err != nil {
		return err
	}
	return pipeline.Copy(ctx, pipeline.Job[*pipeline.Vector]{Source: src, Sink: s, Journal: j, Workers: 3, PartBytes: 50_000})
}

// The writer is killed at random moments and begun again by the same command:
// in the end everything is there once.
func TestKilledAtRandom(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel() // a server takes its time over each
			cfg := store(t, k.server, k.shared)
			target := fmt.Sprintf("%s|%s|%v|%s", cfg.URI, cfg.Database, k.shared, t.TempDir())
			pipetest.KillChild(t, []string{"MILVUS_KILL_TARGET=" + target}, 50*time.Millisecond, 550*time.Millisecond)
			if err := victim(target); err != nil {
				t.Fatal(err)
			}
			arrived(t, Config{Store: cfg}, corpus(killed, 8))
		})
	}
}
