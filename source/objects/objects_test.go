package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	layout "outgrow/mappings/files"
	"outgrow/mappings/objects"
	"outgrow/mappings/objects/objectstest"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
)

var uploads = pipeline.Unit{Lane: pipeline.Files, Name: layout.Uploads}

// quick waits for nothing.
func quick() pipeline.Backoff {
	return pipeline.Backoff{Wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
}

func open(t testing.TB, cfg Config) *Source {
	t.Helper()
	cfg.Backoff = quick()
	if cfg.Spool == "" {
		cfg.Spool = t.TempDir()
	}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// bucket holds keys that sort, nest and read badly, what is passed over, and
// what is refused.
func bucket() (m *objectstest.Memory, records, refused []string) {
	m = &objectstest.Memory{}
	records = []string{"a b%20c+d&e#f.md", "naïve café (1).txt", "年度报告.txt", "emoji 🚀.md", "sub.txt", "sub/x", "sub/deep/y", "sub-z", "tab\tnew\nline",
		`back\slash`, "empty", strings.Repeat("n", 255), ".hidden", "100%", "=", "trailing. ", "cafe\u0301", "caf\u00e9"}
	for i := range 30 {
		records = append(records, fmt.Sprintf("%08d_file.txt", i*i))
	}
	for i, k := range records {
		body := bytes.Repeat([]byte(k), i)
		if k == "empty" {
			body = nil
		}
		m.Store(k, body)
	}
	refused = []string{strings.Repeat("é", 128), "a//b", "a/../b", "/lead", "./dot", "folder with content/"}
	for _, k := range refused {
		m.Store(k, []byte(k))
	}
	for _, k := range []string{"", "folder/", layout.PartialPrefix + "1", "sub/" + layout.PartialPrefix + "2"} {
		m.Store(k, nil)
	}
	return m, records, refused
}

func TestConformance(t *testing.T) {
	m, records, refused := bucket()
	pipetest.TestSource(t, pipetest.SourceCase[*pipeline.Object]{
		Open: func(t testing.TB, l pipeline.Limits) pipeline.Source[*pipeline.Object] {
			return open(t, Config{Bucket: m, Limits: l, Stable: "x"})
		},
		Want: func(t testing.TB) []pipetest.Expected[*pipeline.Object] {
			e := pipetest.Expected[*pipeline.Object]{Unit: uploads}
			s := open(t, Config{Bucket: m})
			for _, k := range records {
				info, err := m.Head(t.Context(), k)
				if err != nil {
					t.Fatal(err)
				}
				o, _ := s.object(uploads, info)
				e.Records = append(e.Records, o)
			}
			for _, k := range refused {
				e.Refused = append(e.Refused, "uploads/"+k)
			}
			return []pipetest.Expected[*pipeline.Object]{e}
		},
	})
}

// The bucket is listed once, whatever is asked, and what is asked of single
// objects is only what the listing does not tell.
func TestRequests(t *testing.T) {
	for _, tt := range []struct {
		lists objects.Algorithms
		heads int
	}{{0, 3}, {objects.SHA256, 3}, {objects.CRC32C, 0}, {objects.MD5, 0}} {
		m, _, _ := bucket()
		m.Lists, m.Keeps = tt.lists, objects.CRC32C|objects.MD5
		s := open(t, Config{Bucket: m})
		all := len(m.Keys())
		names := []string{"uploads/sub.txt", "uploads/sub/x", "uploads/100%", "uploads/none", "uploads/", "uploads", "cache/sub.txt", "sub.txt", "uploads/a//b"}
		listed, err := s.Listed(t.Context(), uploads, names)
		if err != nil || len(listed) != 3 || m.Calls(objectstest.Head) != 0 {
			t.Errorf("listed %d, %v, %d heads", len(listed), err, m.Calls(objectstest.Head))
		}
		got, err := s.Get(t.Context(), uploads, names)
		// The refused key is looked at too, where the listing tells nothing.
		if err != nil || len(got) != 3 || m.Calls(objectstest.Head) > tt.heads+1 || m.Calls(objectstest.Head) < tt.heads {
			t.Errorf("lists %b: got %d, %v, %d heads", tt.lists, len(got), err, m.Calls(objectstest.Head))
		}
		for name, o := range got {
			body, _ := m.Content(strings.TrimPrefix(name, "uploads/"))
			sums := objects.SumsOf(o)
			if same, decided := sums.Compare(objects.SumsOfBytes(objects.CRC32C|objects.MD5|objects.SHA256, body)); !same || !decided || tt.lists == objects.SHA256 && sums.Known() != 7 {
				t.Errorf("%s: %+v", name, sums)
			}
		}
		if _, err := s.Split(t.Context(), uploads, 4); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Identity(t.Context()); err != nil {
			t.Fatal(err)
		}
		if m.Calls(objectstest.List) != all || m.Calls(objectstest.Open) != 0 {
			t.Errorf("%d objects listed of %d, %d opened", m.Calls(objectstest.List), all, m.Calls(objectstest.Open))
		}
	}
}

// What changed after the listing: another content under the key, and nothing.
func TestGetAfterwards(t *testing.T) {
	m := &objectstest.Memory{}
	m.Store("changed", []byte("1"))
	m.Store("gone", []byte("1"))
	s := open(t, Config{Bucket: m})
	if n, err := s.Count(t.Context(), uploads); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	m.Store("changed", []byte("22"))
	m.Store("new", []byte("3"))
	m.Remove("gone")
	got, err := s.Get(t.Context(), uploads, []string{"uploads/changed", "uploads/gone", "uploads/new"})
	if err != nil || len(got) != 1 || got["uploads/changed"].Bytes != 2 {
		t.Errorf("%v, %v", got, err)
	}
	boom := errors.New("boom")
	m.Fault = func(op, _ string) error { return boom }
	if _, err := s.Get(t.Context(), uploads, []string{"uploads/changed"}); !errors.Is(err, boom) {
		t.Errorf("an error of the store: %v", err)
	}
}

func TestListingFails(t *testing.T) {
	m, records, refused := bucket()
	n := 0
	m.Fault = func(op, _ string) error {
		if n++; op == objectstest.List && n == 20 {
			return pipeline.Transient(errors.New("503"))
		}
		return nil
	}
	s := open(t, Config{Bucket: m})
	if got, err := s.Count(t.Context(), uploads); err != nil || int(got) != len(records)+len(refused) {
		t.Errorf("after a transient failure: %d, %v", got, err)
	}
	boom := pipeline.Environment("listing", errors.New("403"), "look at S3_ACCESS_KEY_ID")
	m.Fault = func(string, string) error { return boom }
	spool := t.TempDir()
	s = open(t, Config{Bucket: m, Spool: spool})
	if _, err := s.Units(t.Context()); pipeline.ExitCode(err) != pipeline.ExitEnvironment || !errors.Is(err, boom) {
		t.Errorf("refused: %v", err)
	}
	m.Fault = nil // the next call lists again
	if units, err := s.Units(t.Context()); err != nil || int(units[0].Records) != len(records)+len(refused) {
		t.Errorf("%v, %v", units, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(spool); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := s.Units(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestIdentity(t *testing.T) {
	m, _, _ := bucket()
	id := func() pipeline.Identity {
		i, err := open(t, Config{Bucket: m, Stable: "deployment"}).Identity(t.Context())
		if err != nil || i.Stable != "deployment" {
			t.Fatal(i, err)
		}
		return i
	}
	seen := []string{id().State}
	if id().State != seen[0] {
		t.Error("the same listing is another state")
	}
	for _, change := range []func(){
		func() { m.Store("sub.txt", []byte("other")) },
		func() { m.Store("sub.txt", []byte("OTHER")) }, // as long
		func() { m.Store("new", nil) },
		func() { m.Remove("new"); m.Remove("sub/x") },
	} {
		change()
		state := id().State
		if slices.Contains(seen, state) {
			t.Errorf("a change is not seen: %s", state)
		}
		seen = append(seen, state)
	}
	before := id()
	m.Store(layout.PartialPrefix+"3", []byte("x"))
	if id() != before {
		t.Error("what is passed over changes the state")
	}
}

// Parts weigh about the same, though one object is as large as many.
func TestSplit(t *testing.T) {
	m := &objectstest.Memory{}
	for i := range 3000 {
		m.Store(fmt.Sprintf("%04d", i), make([]byte, 100))
	}
	m.Store("1500", make([]byte, 80<<20))
	s := open(t, Config{Bucket: m})
	parts, err := s.Split(t.Context(), uploads, 4)
	if err != nil || len(parts) < 3 || len(parts) > 4 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	for _, p := range parts {
		n, total := 0, int64(0)
		for b, err := range s.Read(t.Context(), p, "") {
			if err != nil {
				t.Fatal(err)
			}
			n += b.Read
			total += b.Bytes
		}
		if n == 0 || total+int64(n)*weight > 160<<20 {
			t.Errorf("part %d has %d objects, %d bytes", p.N, n, total)
		}
	}
	for _, n := range []int{0, 1, 5000} {
		if parts, err := s.Split(t.Context(), uploads, n); err != nil || len(parts) > max(n, 1) {
			t.Errorf("%d: %d parts, %v", n, len(parts), err)
		}
	}
	empty := open(t, Config{Bucket: &objectstest.Memory{}})
	if parts, err := empty.Split(t.Context(), uploads, 4); err != nil || len(parts) != 1 {
		t.Errorf("nothing: %v, %v", parts, err)
	}
}

func TestCheck(t *testing.T) {
	for _, flat := range []bool{false, true} {
		m, _, refused := bucket()
		list, err := open(t, Config{Bucket: m, Flat: flat}).Check(t.Context(), []pipeline.Unit{uploads, {Lane: pipeline.Files, Name: "cache/audio"}})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for _, f := range list {
			got[fmt.Sprint(f.Severity, " ", f.Reason)]++
			if f.Text == "" || f.Severity == pipeline.Accept && f.Fix == "" || f.Unit != "files/uploads" {
				t.Errorf("%+v", f)
			}
		}
		want := map[string]int{"accept invalid": len(refused) - 1, "accept too-long": 1, "note empty-file": 2, "note in-folder": 2}
		if !flat {
			delete(want, "note in-folder")
		}
		// Two keys of the sample have no content: "empty", and the first one.
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("flat %v: %v, want %v", flat, got, want)
		}
	}
}
