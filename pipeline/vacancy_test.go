package pipeline_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"outgrow/pipeline"
	"outgrow/pipeline/digests"
	"outgrow/pipeline/pipetest"
)

// shared is a folder in memory that dies, when told to, after it has written half of
// a batch.
type shared struct {
	*pipetest.Memory[*vec]
	dies bool
}

func (s *shared) Vacant(ctx context.Context, u pipeline.Unit) (bool, error) {
	n, err := s.Count(ctx, u)
	return n == 0, err
}

func (s *shared) Write(ctx context.Context, b pipeline.Batch[*vec]) (pipeline.Outcome, error) {
	if s.dies {
		b.Records = b.Records[:len(b.Records)/2]
		_, err := s.Memory.Write(ctx, b)
		return pipeline.Outcome{}, errors.Join(errDied, err)
	}
	return s.Memory.Write(ctx, b)
}

// What a killed copy has written and nobody has noted leaves the target when the
// source has lost it meanwhile: it is known to be the run's own where the folder was
// vacant, and left alone where others had files there before.
func TestCopyKnowsItsOwn(t *testing.T) {
	t.Parallel()
	uploads := pipeline.Unit{Lane: pipeline.Files, Name: "uploads"}
	for name, theirs := range map[string][]string{"vacant": nil, "in use before": {"theirs"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			file := func(id string) *vec { return &vec{ID: id, Text: &id, Embedding: []float32{1}} }
			source := pipetest.NewMemory(pipeline.Limits{Records: 4}, pipetest.Expected[*vec]{Unit: uploads, Records: []*vec{file("a"), file("b"), file("c"), file("d"), file("e")}})
			target := &shared{Memory: pipetest.NewMemory[*vec](pipeline.Limits{}), dies: true}
			for _, id := range theirs {
				if _, err := target.Memory.Upsert(ctx, uploads, []*vec{file(id)}, pipeline.Upsert{}); err != nil {
					t.Fatal(err)
				}
			}
			dir, state := t.TempDir(), &pipetest.MemoryState{}
			in := func(f func(d *digests.Store, j pipeline.Journal) error) error { // as another process
				d, err := digests.Open(ctx, dir, "run", "")
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				j := state.Open()
				defer j.Close()
				if _, err := j.Begin(ctx, pipeline.Run{ID: "run"}); err != nil {
					t.Fatal(err)
				}
				return f(d, j)
			}
			copies := func(d *digests.Store, j pipeline.Journal) error {
				return pipeline.Copy(ctx, pipeline.Job[*vec]{Source: source, Sink: target, Journal: j, Digests: d, InUse: true})
			}
			if err := in(copies); !errors.Is(err, errDied) {
				t.Fatal(err)
			}
			// a and b are there; of these a is deleted, and c before it was copied.
			if err := source.Delete(ctx, uploads, []string{"a", "c"}); err != nil {
				t.Fatal(err)
			}
			target.dies = false
			if err := in(copies); err != nil {
				t.Fatal(err)
			}
			if err := in(func(d *digests.Store, j pipeline.Journal) error {
				_, err := pipeline.Sync(ctx, pipeline.Delta[*vec]{Source: source, Sink: target, Journal: j, Digests: d, Target: target, Equal: equalVec})
				return err
			}); err != nil {
				t.Fatal(err)
			}
			want := []string{"b", "d", "e"}
			if theirs != nil {
				want = []string{"a", "b", "d", "e", "theirs"}
			}
			got := slices.Collect(maps.Keys((&relational{Memory: target.Memory}).all(uploads)))
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("the target has %v, want %v", got, want)
			}
		})
	}
}
