package pinecone

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/pinecone"
	"outgrow/testdata/servers"
	"outgrow/testdata/servers/fakepinecone"
)

func copied(t *testing.T, src *memory, cfg Config) pipeline.Journal {
	t.Helper()
	j := begun(t, (&pipetest.MemoryState{}).Open())
	cfg.Journal = j
	if err := pipeline.Copy(t.Context(), job(src, open(t, cfg), j)); err != nil {
		t.Fatal(err)
	}
	return j
}

// A storm of 429s and lost answers: the run goes on, waits as long as it is
// told, and nothing is doubled.
func TestStormOnFake(t *testing.T) {
	fake := servers.OwnFakePinecone(t)
	fake.StormControl(1, time.Second)
	src, cfg := corpus(600, 9, 1), config(fake, "a", 9)
	start := time.Now()
	s := open(t, cfg)
	if d := time.Since(start); d < time.Second {
		t.Errorf("the control plane said wait a second; %v", d)
	}
	if err := s.Prepare(t.Context(), pipeline.Unit{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	fake.Storm(9, time.Second)
	fake.Lose(4)
	start = time.Now()
	j := copied(t, src, cfg)
	if d := time.Since(start); d < time.Second {
		t.Errorf("the data plane said wait a second; %v", d)
	}
	if n := len(fake.Records(cfg.Store.Index)); n != 600 {
		t.Errorf("%d records of 600", n)
	}
	fake.Storm(6, 0)
	equal(t, src, cfg, j)
}

// A server that goes away and comes back in the middle.
func TestRestartOnFake(t *testing.T) {
	fake := servers.OwnFakePinecone(t)
	cfg, whole := config(fake, "a", 9), config(fake, "b", 9)
	src := corpus(400, 9, 2)
	src.batch = 10
	copied(t, src, whole)
	want := fake.Records(whole.Store.Index)
	fake.Slow(5 * time.Millisecond)
	done := make(chan error, 1)
	go func() {
		for range 3 {
			time.Sleep(80 * time.Millisecond)
			fake.Stop()
			time.Sleep(150 * time.Millisecond)
			if err := fake.Restart(); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	j := copied(t, src, cfg)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	fake.Slow(0)
	if got := fake.Records(cfg.Store.Index); !maps.Equal(got, want) {
		t.Errorf("%d records, not the same %d", len(got), len(want))
	}
	equal(t, src, cfg, j)
}

// A server that stays away ends the run with exit code 3, and the same command
// goes on later.
func TestAwayOnFake(t *testing.T) {
	fake := servers.OwnFakePinecone(t)
	src, cfg := corpus(200, 9, 2), config(fake, "a", 9)
	s, j := open(t, cfg), begun(t, (&pipetest.MemoryState{}).Open())
	if err := s.Prepare(t.Context(), unit("file-0c", nil)); err != nil {
		t.Fatal(err)
	}
	fake.Stop()
	short := job(src, s, j)
	short.Backoff = pipeline.Backoff{Attempts: 2, Base: time.Millisecond}
	err := pipeline.Copy(t.Context(), short)
	if pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.HintOf(err) == "" || strings.Contains(err.Error(), "pcsk_secret") {
		t.Errorf("exit %d, %v", pipeline.ExitCode(err), err)
	}
	if err := fake.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := pipeline.Copy(t.Context(), job(src, s, j)); err != nil {
		t.Fatal(err)
	}
	equal(t, src, cfg, j)
}

func TestWrongKeyOnFake(t *testing.T) {
	cfg := config(servers.FakePinecone(t), t.Name(), 9)
	cfg.Store.APIKey = fakepinecone.WrongKey
	_, err := Open(t.Context(), cfg)
	if pipeline.ExitCode(err) != pipeline.ExitEnvironment || !strings.Contains(pipeline.HintOf(err), "PINECONE_API_KEY") || strings.Contains(err.Error(), fakepinecone.WrongKey) {
		t.Errorf("%v, hint %q", err, pipeline.HintOf(err))
	}
}

// Reads are behind writes: Finish waits, and so does the reader.
func TestFreshnessOnFake(t *testing.T) {
	fake := servers.OwnFakePinecone(t)
	fake.Lag(1500 * time.Millisecond)
	src, cfg := corpus(300, 9, 4), config(fake, "a", 9)
	start := time.Now()
	j := copied(t, src, cfg)
	if d := time.Since(start); d < time.Second {
		t.Errorf("finished after %v, before anything could be read", d)
	}
	equal(t, src, cfg, j)
	// Bounded: it ends, and verify has the last word.
	cfg = config(fake, "b", 9)
	cfg.FreshWait = -1
	start = time.Now()
	j = copied(t, src, cfg)
	units, err := pipeline.Diff(t.Context(), pipeline.Comparison[*pipeline.Vector]{Source: src, Journal: j, Equal: func(context.Context, pipeline.Unit, *pipeline.Vector, *pipeline.Vector) ([]pipeline.Field, error) {
		return nil, nil
	},
		Target: openReader(t, reader.Config{Store: cfg.Store, FreshWait: -1})})
	if err != nil || (time.Since(start) < time.Second && units[0].Missing == 0) {
		t.Errorf("%+v, %v", units, err)
	}
}

// Every record is fetched once, whatever is asked of the reader.
func TestFetchedOnceOnFake(t *testing.T) {
	fake := servers.OwnFakePinecone(t)
	src, cfg := corpus(730, 9, 5), config(fake, "a", 9)
	copied(t, src, cfg)
	before := fake.Calls("Fetch ids")
	r := openReader(t, reader.Config{Store: cfg.Store})
	units, err := r.Units(t.Context())
	if err != nil || len(units) != 5 {
		t.Fatalf("%d units, %v", len(units), err)
	}
	total := int64(0)
	for range 2 {
		for _, u := range units {
			if u.Dim != 9 || u.Bytes <= 0 {
				t.Errorf("%+v", u)
			}
			n := int64(0)
			for b, err := range r.Read(t.Context(), pipeline.Part{Unit: u}, "") {
				if err != nil {
					t.Fatal(err)
				}
				n += int64(len(b.Records))
			}
			if c, err := r.Count(t.Context(), u); err != nil || c != n {
				t.Errorf("%d read, %d counted, %v", n, c, err)
			}
			total += n
		}
	}
	if n := fake.Calls("Fetch ids") - before; n != 730 || total != 2*730 {
		t.Errorf("%d ids fetched for 730 records, %d read", n, total)
	}
	if _, err := r.Search(t.Context(), units[0], [][]float32{{1, 0, 0, 0, 0, 0, 0, 0, 0}}, 5, true); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an exact search: %v", err)
	}
	hits, err := r.Search(t.Context(), units[0], [][]float32{src.by[units[0].Name][0].Embedding}, 5, false)
	if err != nil || len(hits) != 1 || len(hits[0]) != 5 || hits[0][0].ID != src.by[units[0].Name][0].ID || hits[0][0].Score < 0.99999 || hits[0][4].Score > hits[0][0].Score {
		t.Errorf("%+v, %v", hits, err)
	}
}
