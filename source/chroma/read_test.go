package chroma

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// TestResume stops after every batch and goes on with a new source and the
// cursor: the same records, in the same order, as in one go.
func TestResume(t *testing.T) {
	for _, name := range []string{"1.5.9-kill9-hot-journal", "0.5.9-vectors-lost", "1.5.9-types rewound"} {
		t.Run(name, func(t *testing.T) {
			dir, rewound := strings.CutSuffix(name, " rewound")
			store := filepath.Join(unpack(t, dir), "vector_db")
			if rewound {
				rewind(t, store)
			}
			cfg := Config{Dir: store, AllDatabases: true, Limits: pipeline.Limits{Records: 7}}
			s := open(t, cfg)
			units, err := s.Units(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range units {
				var whole, pieces []string
				keys := func(to []string, b pipeline.Batch[*pipeline.Vector]) []string {
					for _, v := range b.Records {
						to = append(to, v.ID)
					}
					for _, r := range b.Refused {
						to = append(to, "lost "+r.Key)
					}
					if len(b.Records)+len(b.Refused) > 7 || b.Read != len(b.Records)+len(b.Refused) {
						t.Errorf("a batch of %d", b.Read)
					}
					return to
				}
				for b, err := range s.Read(t.Context(), pipeline.Part{Unit: u}, "") {
					if err != nil {
						t.Fatal(err)
					}
					whole = keys(whole, b)
				}
				at := pipeline.Cursor("")
				for more := true; more; {
					more = false
					for b, err := range open(t, cfg).Read(t.Context(), pipeline.Part{Unit: u}, at) {
						if err != nil {
							t.Fatal(err)
						}
						if b.Prev != at || b.Next == at {
							t.Fatalf("batch from %q to %q, read after %q", b.Prev, b.Next, at)
						}
						pieces, at, more = keys(pieces, b), b.Next, true
						break
					}
				}
				if !slices.Equal(whole, pieces) {
					t.Errorf("%s: %d records in pieces, %d in one go", u.Name, len(pieces), len(whole))
				}
			}
		})
	}
}

// TestParts reads parts of several collections at the same time.
func TestParts(t *testing.T) {
	dir := unpack(t, "1.5.9-config")
	s := open(t, Config{Dir: filepath.Join(dir, "vector_db"), Limits: pipeline.Limits{Records: 5, Bytes: 2000}})
	units, err := s.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, u := range units {
		// Split keeps small collections whole: cut here at two rows by hand.
		_, x, done, err := s.open(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		cut := position{n: x.records[len(x.records)/3].row}.cursor()
		done()
		for _, p := range []pipeline.Part{{Unit: u, To: cut}, {Unit: u, N: 1, From: cut}} {
			wg.Go(func() {
				for b, err := range s.Read(t.Context(), p, "") {
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					for _, v := range b.Records {
						got[u.Name+" "+v.ID]++
					}
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	list := expected(t, filepath.Join(dir, "expected.jsonl"))
	for _, w := range list {
		if n := got[w.Collection+" "+w.ID]; n != 1 {
			t.Errorf("%s %s: %d times", w.Collection, w.ID, n)
		}
	}
	if len(got) != len(list) {
		t.Errorf("%d records, want %d", len(got), len(list))
	}
}

func TestGetKeysSplit(t *testing.T) {
	dir := filepath.Join(unpack(t, "0.5.9-vectors-lost"), "vector_db")
	s := open(t, Config{Dir: dir})
	all, err := readAll(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	units, _ := s.Units(t.Context())
	for _, u := range units {
		var keys []string
		for k, err := range s.Keys(t.Context(), u) {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, k)
		}
		for range s.Keys(t.Context(), u) {
			break // must not be called again
		}
		got, err := s.Get(t.Context(), u, append(keys, "no such id"))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(keys) || int64(len(keys)) != u.Records {
			t.Errorf("%s: %d keys, %d records got, unit says %d", u.Name, len(keys), len(got), u.Records)
		}
		for k, v := range got {
			if !reflect.DeepEqual(v, all[u.Name+"\x00"+k]) {
				t.Errorf("%s %s: Get and Read differ", u.Name, k)
			}
		}
		parts, err := s.Split(t.Context(), u, 4)
		if err != nil || len(parts) != 1 || parts[0].From != "" || parts[0].To != "" {
			t.Errorf("a small collection in parts %v %v", parts, err)
		}
	}
}

// TestLostAreKept checks that a record without a vector is refused whole.
func TestLostAreKept(t *testing.T) {
	dir := filepath.Join(unpack(t, "0.5.9-vectors-lost"), "vector_db")
	s := open(t, Config{Dir: dir})
	units, _ := s.Units(t.Context())
	lost := 0
	for _, u := range units {
		for b, err := range s.Read(t.Context(), pipeline.Part{Unit: u}, "") {
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range b.Records {
				if v.Embedding == nil {
					t.Errorf("%s is among the records", v.ID)
				}
			}
			for _, r := range b.Refused {
				lost++
				var v pipeline.Vector
				if err := json.Unmarshal(r.Record, &v); err != nil {
					t.Fatal(err)
				}
				if r.Unit != u.ID() || v.ID != r.Key || v.Text == nil || !strings.Contains(string(v.Metadata), `"page"`) {
					t.Errorf("not whole: %+v", r)
				}
			}
		}
	}
	if lost != 7 {
		t.Errorf("%d lost, want 7", lost)
	}
}

// TestReadOnlyMount reads from a mount that cannot be written to.
func TestReadOnlyMount(t *testing.T) {
	dir := unpack(t, "1.5.9-kill9-hot-journal")
	store := filepath.Join(dir, "vector_db")
	if out, err := exec.Command("mount", "--bind", store, store).CombinedOutput(); err != nil {
		servers.Skip(t, "no right to mount: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", store).CombinedOutput(); err != nil {
			t.Errorf("%v %s", err, out)
		}
	})
	if out, err := exec.Command("mount", "-o", "remount,bind,ro", store).CombinedOutput(); err != nil {
		servers.Skip(t, "no right to mount read-only: %v %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(store, "x"), nil, 0o600); err == nil {
		t.Fatal("the mount can be written to")
	}
	list := expected(t, filepath.Join(dir, "expected.jsonl"))
	compare(t, open(t, Config{Dir: store}), list)
	compare(t, open(t, Config{Dir: store, Stopped: true}), list)
}

func TestBytesLimit(t *testing.T) {
	dir := filepath.Join(unpack(t, "1.5.9-kill9-hot-journal"), "vector_db")
	s := open(t, Config{Dir: dir, Limits: pipeline.Limits{Bytes: 5000}})
	units, _ := s.Units(t.Context())
	n := map[bool]int{}
	for b, err := range s.Read(t.Context(), pipeline.Part{Unit: units[0]}, "") {
		if err != nil {
			t.Fatal(err)
		}
		last := int64(b.Records[len(b.Records)-1].Size())
		if b.Bytes-last >= 5000 {
			t.Errorf("a batch of %d bytes goes on after the limit", b.Bytes)
		}
		n[b.Bytes >= 5000]++
	}
	if n[true] < 10 || n[false] > 1 {
		t.Errorf("batches that reach the limit and do not: %v", maps.Collect(maps.All(n)))
	}
}
