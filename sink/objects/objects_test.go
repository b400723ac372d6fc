package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	store "outgrow/mappings/objects"
	"outgrow/mappings/objects/objectstest"
	"outgrow/pipeline"
)

var when = time.Date(2024, 2, 29, 12, 34, 56, 0, time.UTC)

func object(name, text string) *pipeline.Object {
	return &pipeline.Object{Name: name, Bytes: int64(len(text)), ModTime: when,
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
}

// file is an object that can be read at any place, as a file of this machine can.
func file(name, text string) *pipeline.Object {
	o := object(name, text)
	o.Open = func(context.Context) (io.ReadCloser, error) { return opener{strings.NewReader(text)}, nil }
	return o
}

type opener struct{ *strings.Reader }

func (opener) Close() error { return nil }

// text is a content of so many bytes that no two parts of share.
func text(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d;", i)
	}
	return b.String()[:n]
}

func unit(name string) pipeline.Unit { return pipeline.Unit{Lane: pipeline.Files, Name: name} }

func batch(objects ...*pipeline.Object) pipeline.Batch[*pipeline.Object] {
	return pipeline.Batch[*pipeline.Object]{Part: pipeline.Part{Unit: unit("uploads")}, Next: "n", Records: objects, Read: len(objects)}
}

// opened opens a sink that does not wait between tries.
func opened(t testing.TB, m *objectstest.Memory, change ...func(*Config)) *Sink {
	t.Helper()
	cfg := Config{Bucket: m, Uploader: m, Backoff: pipeline.Backoff{Wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}}
	for _, f := range change {
		f(&cfg)
	}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func replace(c *Config) { c.Replace = true }

func write(t testing.TB, s *Sink, objects ...*pipeline.Object) pipeline.Outcome {
	t.Helper()
	out, err := s.Write(t.Context(), batch(objects...))
	if err != nil {
		t.Fatal(err)
	}
	if in := s.buffers.used + s.scratch.used; in != 0 || len(s.slots) != 0 {
		t.Errorf("%d bytes of buffers and %d slots are not given back", in, len(s.slots))
	}
	return out
}

func has(t testing.TB, m *objectstest.Memory, key, want string) {
	t.Helper()
	if body, ok := m.Content(key); !ok || string(body) != want {
		t.Errorf("%s: %d bytes, %v, want %d", key, len(body), ok, len(want))
	}
}

// faults gives errors for the first calls of an operation and then none.
type faults struct {
	mu   sync.Mutex
	left map[string][]error
}

func (f *faults) hook(op, _ string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.left[op]
	if len(l) == 0 {
		return nil
	}
	f.left[op] = l[1:]
	return l[0]
}

func failing(op string, errs ...error) func(string, string) error {
	return (&faults{left: map[string][]error{op: errs}}).hook
}

var (
	errNow  = errors.New("not now")
	again   = pipeline.Transient(errNow)
	errDead = errors.New("never")
)

func repeat(err error, n int) (out []error) {
	for range n {
		out = append(out, err)
	}
	return out
}

func TestWrite(t *testing.T) {
	m := &objectstest.Memory{PartBytes: 100}
	s := opened(t, m, func(c *Config) {
		c.Tags = func(_ context.Context, name string) (map[string]string, error) {
			return map[string]string{"File-Id": name}, nil
		}
	})
	if err := s.Prepare(t.Context(), unit("uploads")); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("n", 255)
	want := map[string]string{"a.txt": "hello", "empty": "", "one": text(100), "two": text(101), "large": text(1234), "sub/deep/" + long: "1", "naïve café %20\\c\n": "2"}
	var list []*pipeline.Object
	for k, v := range want {
		list = append(list, object("uploads/"+k, v))
	}
	for round := range 2 {
		if out := write(t, s, list...); out.Written != len(want) || len(out.Refused)+len(out.Changed) > 0 {
			t.Errorf("round %d: %+v", round, out)
		}
		for k, v := range want {
			has(t, m, k, v)
		}
	}
	if len(m.Keys()) != len(want) || len(m.Pending()) > 0 {
		t.Errorf("keys %q, pending %q", m.Keys(), m.Pending())
	}
	if begins := m.Calls(objectstest.Begin); begins != 2 {
		t.Errorf("%d uploads in parts were begun, of two objects", begins)
	}
	for _, k := range []string{"a.txt", "large"} {
		if tags := m.Tags(k); tags["File-Id"] != "uploads/"+k {
			t.Errorf("tags of %s: %v", k, tags)
		}
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	cases := []struct {
		name   string
		flat   bool
		reason pipeline.Reason
	}{
		{"uploads/../webui.db", false, pipeline.Invalid},
		{"cache/audio/x", false, pipeline.Invalid},
		{"/etc/passwd", false, pipeline.Invalid},
		{"uploads", false, pipeline.Invalid},
		{"uploads/", false, pipeline.Invalid},
		{"uploads/a//b", false, pipeline.Invalid},
		{"uploads/a/", false, pipeline.Invalid},
		{"uploads/\xff", false, pipeline.Invalid},
		{"uploads/a\x00b", false, pipeline.Invalid},
		{"uploads/a/b", true, pipeline.Invalid},
		{"uploads/a/b", false, ""},
		{"uploads/..a", true, ""},
		{"uploads/" + strings.Repeat("ü", 127) + "x", true, ""},
		{"uploads/" + strings.Repeat("ü", 128), true, pipeline.TooLong},
		{"uploads/d/" + strings.Repeat("x", 256), false, pipeline.TooLong},
		{"uploads/" + strings.Repeat(strings.Repeat("d", 200)+"/", 6) + "x", false, pipeline.TooLong},
		{"uploads/cr\r", true, "odd"},
	}
	for _, c := range cases {
		m := &objectstest.Memory{}
		s := opened(t, m, func(cfg *Config) {
			cfg.Flat = c.flat
			cfg.Refuse = func(key string) (pipeline.Reason, string) {
				if strings.Contains(key, "\r") {
					return "odd", "a return"
				}
				return "", ""
			}
		})
		out := write(t, s, object(c.name, "1"))
		if c.reason == "" {
			if out.Written != 1 || len(m.Keys()) != 1 {
				t.Errorf("%.40q: %+v", c.name, out)
			}
			continue
		}
		if out.Written != 0 || len(out.Refused) != 1 || out.Refused[0].Reason != c.reason || out.Refused[0].Key != c.name || len(m.Keys()) > 0 {
			t.Errorf("%.40q: %+v, keys %q", c.name, out, m.Keys())
		}
	}
	s := opened(t, &objectstest.Memory{})
	for _, u := range []pipeline.Unit{unit("cache/audio"), {Lane: pipeline.Rows, Name: "uploads"}} {
		b := batch()
		b.Part.Unit = u
		_, err := s.Write(t.Context(), b)
		if perr := s.Prepare(t.Context(), u); !errors.Is(err, errors.ErrUnsupported) || !errors.Is(perr, errors.ErrUnsupported) {
			t.Errorf("%s: %v, %v", u.ID(), err, perr)
		}
	}
	if _, err := Open(t.Context(), Config{}); err == nil {
		t.Error("a sink without a bucket")
	}
}

// digests are the stores of different knowledge.
func digests() map[string]func(*objectstest.Memory) {
	return map[string]func(*objectstest.Memory){
		"crc32c": func(*objectstest.Memory) {},
		"md5":    func(m *objectstest.Memory) { m.Keeps = store.MD5 },
		"sha256": func(m *objectstest.Memory) { m.Keeps = store.SHA256 },
		"none":   func(m *objectstest.Memory) { m.Hides = true },
	}
}

// An object that differs is never overwritten unless that is asked for; one that
// is the same counts as written and is left alone.
// A bucket without an object below the prefix is vacant.
func TestVacant(t *testing.T) {
	t.Parallel()
	m := &objectstest.Memory{}
	s := opened(t, m)
	if vacant, err := s.Vacant(t.Context(), unit("uploads")); err != nil || !vacant {
		t.Errorf("vacant: %v, %v", vacant, err)
	}
	write(t, s, object("uploads/a", "text"))
	if vacant, err := s.Vacant(t.Context(), unit("uploads")); err != nil || vacant {
		t.Errorf("with an object vacant: %v, %v", vacant, err)
	}
	m.Fault = failing(objectstest.List, errDead)
	if vacant, err := s.Vacant(t.Context(), unit("uploads")); !errors.Is(err, errDead) || vacant {
		t.Errorf("not listed vacant: %v, %v", vacant, err)
	}
}

func TestTaken(t *testing.T) {
	for name, set := range digests() {
		for _, big := range []int{50, 350} { // one request, four parts
			for _, over := range []bool{false, true} {
				m := &objectstest.Memory{PartBytes: 100}
				set(m)
				ours := text(big)
				theirs := strings.Replace(ours, "1", "2", 1)
				m.Store("same", []byte(ours))
				m.Store("other", []byte(theirs))
				m.Store("longer", []byte(ours+"x"))
				info, err := m.Head(t.Context(), "same")
				if err != nil {
					t.Fatal(err)
				}
				s := opened(t, m, func(c *Config) { c.Replace = over })
				out := write(t, s, object("uploads/same", ours), object("uploads/other", ours), object("uploads/longer", ours), object("uploads/free", ours))
				if now, _ := m.Head(t.Context(), "same"); !reflect.DeepEqual(now, info) {
					t.Errorf("%s, %d, %v: the same object was written again", name, big, over)
				}
				has(t, m, "free", ours)
				if over {
					if out.Written != 4 || len(out.Refused) > 0 {
						t.Errorf("%s, %d, replacing: %+v", name, big, out)
					}
					has(t, m, "other", ours)
					has(t, m, "longer", ours)
					continue
				}
				if out.Written != 2 || len(out.Refused) != 2 {
					t.Errorf("%s, %d: %+v", name, big, out)
				}
				for _, r := range out.Refused {
					if r.Reason != pipeline.Duplicate || !bytes.Contains(r.Record, []byte(r.Key)) {
						t.Errorf("%s, %d: refusal %+v", name, big, r)
					}
				}
				has(t, m, "other", theirs)
				has(t, m, "longer", ours+"x")
				if len(m.Pending()) > 0 {
					t.Errorf("%s, %d: pending %q", name, big, m.Pending())
				}
			}
		}
	}
}

// A digest that source and target know spares reading.
func TestKnownDigests(t *testing.T) {
	body := text(350)
	sums := store.SumsOfBytes(store.CRC32C|store.MD5|store.SHA256, []byte(body))
	for name, set := range digests() {
		m := &objectstest.Memory{PartBytes: 100}
		set(m)
		m.Store("a", []byte(body))
		reads := 0
		o := object("uploads/a", body)
		content := o.Open
		o.Open = func(ctx context.Context) (io.ReadCloser, error) { reads++; return content(ctx) }
		o.CRC32C, o.MD5, o.SHA256 = sums.CRC32C, sums.MD5, sums.SHA256
		if out := write(t, opened(t, m), o); out.Written != 1 || reads != 0 {
			t.Errorf("%s: %+v, the source was read %d times", name, out, reads)
		}
		o.CRC32C, o.MD5, o.SHA256 = "", "", ""
		want := 1
		if out := write(t, opened(t, m), o); out.Written != 1 || reads != want {
			t.Errorf("%s, without: %+v, the source was read %d times", name, out, reads)
		}
	}
	// What the source says of itself is checked.
	for _, size := range []int{50, 350} {
		for n, wrong := range []func(*pipeline.Object){
			func(o *pipeline.Object) { o.SHA256 = strings.Repeat("0", 64) },
			func(o *pipeline.Object) { o.MD5 = strings.Repeat("0", 32) },
			func(o *pipeline.Object) { o.CRC32C = "00000000" },
		} {
			m := &objectstest.Memory{PartBytes: 100}
			o := object("uploads/a", text(size))
			wrong(o)
			_, err := opened(t, m).Write(t.Context(), batch(o))
			if !errors.Is(err, errDigest) || !pipeline.IsRetryable(err) || len(m.Keys())+len(m.Pending()) > 0 {
				t.Errorf("%d bytes, digest %d: %v, keys %q, pending %q", size, n, err, m.Keys(), m.Pending())
			}
		}
	}
}

func TestCheck(t *testing.T) {
	m := &objectstest.Memory{}
	s := opened(t, m)
	units := []pipeline.Unit{unit("uploads"), unit("cache/audio"), {Lane: pipeline.Rows, Name: "chat"}}
	m.Store("folder/", nil)
	m.Store("", nil)
	if f, err := s.Check(t.Context(), units); err != nil || len(f) > 0 {
		t.Errorf("an empty target: %+v, %v", f, err)
	}
	m.Store("a", []byte("123"))
	m.Store("d/b", []byte("45"))
	want := []pipeline.Finding{{Severity: pipeline.Warn, Reason: InUse, Unit: "files/uploads", Count: 2,
		Text: "the target has 2 files there, 5 bytes: those that are the same are kept, others of the same name are refused",
		Fix:  "this is as it should be after an earlier run; else choose an empty bucket or prefix, or --replace"}}
	if f, err := s.Check(t.Context(), units); err != nil || !reflect.DeepEqual(f, want) {
		t.Errorf("in use: %+v, %v", f, err)
	}
	f, err := opened(t, m, replace).Check(t.Context(), units)
	if err != nil || len(f) != 1 || f[0].Fix != "" || !strings.HasSuffix(f[0].Text, "overwritten (--replace)") {
		t.Errorf("replacing: %+v, %v", f, err)
	}
	m.Fault = failing(objectstest.List, again, again)
	if f, err := s.Check(t.Context(), units); err != nil || !reflect.DeepEqual(f, want) {
		t.Errorf("after transient errors: %+v, %v", f, err)
	}
	m.Fault = failing(objectstest.List, errDead)
	if _, err := s.Check(t.Context(), units); !errors.Is(err, errDead) {
		t.Errorf("a failing list: %v", err)
	}
	if m.Calls(objectstest.Put) > 0 {
		t.Error("Check has written")
	}
}
