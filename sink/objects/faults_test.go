package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	store "outgrow/mappings/objects"
	"outgrow/mappings/objects/objectstest"
	"outgrow/pipeline"
)

// What the store does wrong, in one request or on the way of parts: how it ends,
// and that what is there is right.
func TestStoreFaults(t *testing.T) {
	tries := defaultAttempts
	lost := func(op string, errs ...error) func(*objectstest.Memory) {
		return func(m *objectstest.Memory) { m.Lost = failing(op, errs...) }
	}
	fault := func(op string, errs ...error) func(*objectstest.Memory) {
		return func(m *objectstest.Memory) { m.Fault = failing(op, errs...) }
	}
	cases := []struct {
		name  string
		size  int
		set   func(*objectstest.Memory)
		err   error // of the first Write; nil when it succeeds
		again bool  // the error is transient
		left  bool  // the upload stays for the next
	}{
		{"put fails for a while", 50, fault(objectstest.Put, repeat(again, tries-1)...), nil, false, false},
		{"put fails longer", 50, fault(objectstest.Put, repeat(again, tries)...), errNow, true, false},
		{"put fails for good", 50, fault(objectstest.Put, errDead), errDead, false, false},
		{"answer of put lost", 50, lost(objectstest.Put, again), nil, false, false},
		{"answers of put and head lost", 50, func(m *objectstest.Memory) {
			m.Lost, m.Fault = failing(objectstest.Put, again), failing(objectstest.Head, again)
		}, nil, false, false},
		{"digest of put", 50, fault(objectstest.Put, store.ErrDigest), nil, false, false},
		{"digest of put, always", 50, fault(objectstest.Put, repeat(store.ErrDigest, tries)...), store.ErrDigest, true, false},
		{"head fails for a while", 350, fault(objectstest.Head, again, again), nil, false, false},
		{"head fails for good", 350, fault(objectstest.Head, errDead), errDead, false, false},
		{"begin fails for a while", 350, fault(objectstest.Begin, again), nil, false, false},
		{"begin fails for good", 350, fault(objectstest.Begin, errDead), errDead, false, false},
		{"parts fail for a while", 350, fault(objectstest.Part, again, again, again), nil, false, false},
		{"answers of parts lost", 350, lost(objectstest.Part, again, again), nil, false, false},
		{"digest of a part", 350, fault(objectstest.Part, store.ErrDigest), nil, false, false},
		{"parts fail longer", 350, fault(objectstest.Part, repeat(again, 4*tries)...), errNow, true, true},
		{"a part fails for good", 350, fault(objectstest.Part, errDead), errDead, false, true},
		{"complete fails for a while", 350, fault(objectstest.Complete, again), nil, false, false},
		{"answer of complete lost", 350, lost(objectstest.Complete, again), nil, false, false},
		{"answer of complete lost for good", 350, lost(objectstest.Complete, errDead), nil, false, false},
		{"answer of complete lost, and seen as taken", 350, lost(objectstest.Complete, store.ErrTaken), nil, false, false},
		{"complete fails for good", 350, fault(objectstest.Complete, errDead), errDead, false, true},
		{"digest of complete", 350, fault(objectstest.Complete, store.ErrDigest), store.ErrDigest, true, false},
		{"digest of complete, said to be transient", 350, fault(objectstest.Complete, pipeline.Transient(store.ErrDigest)), store.ErrDigest, true, false},
		{"the upload is gone", 350, fault(objectstest.Complete, repeat(fs.ErrNotExist, tries)...), fs.ErrNotExist, true, true},
	}
	for _, c := range cases {
		for _, way := range []string{"parallel", "sequential", "streamed"} {
			t.Run(c.name+"/"+way, func(t *testing.T) {
				m, object := &objectstest.Memory{PartBytes: 100, Sequential: way != "parallel", NeedCRC32C: way != "parallel"}, object
				if way == "streamed" {
					m.Span, object = 200, file
				}
				c.set(m)
				s := opened(t, m)
				o := object("uploads/a", text(c.size))
				out, err := s.Write(t.Context(), batch(o))
				if !errors.Is(err, c.err) || pipeline.IsRetryable(err) != c.again || (out.Written == 1) != (err == nil) || len(out.Refused) > 0 {
					t.Fatalf("%+v, %v", out, err)
				}
				if c.err != nil {
					if len(m.Keys()) > 0 || len(m.Pending()) > 0 != c.left {
						t.Errorf("keys %q, pending %q", m.Keys(), m.Pending())
					}
					m.Fault = nil
					if out := write(t, s, o); out.Written != 1 {
						t.Errorf("next: %+v", out)
					}
				}
				has(t, m, "a", text(c.size))
				if len(m.Pending()) > 0 {
					t.Errorf("pending %q", m.Pending())
				}
			})
		}
	}
}

// Bytes that are damaged on their way are sent again, and never stored.
func TestDamage(t *testing.T) {
	for _, size := range []int{50, 350} {
		var n atomic.Int64
		m := &objectstest.Memory{PartBytes: 100, Damage: func(_, _ string, body []byte) []byte {
			if n.Add(1) > 2 {
				return body
			}
			return append([]byte{body[0] ^ 1}, body[1:]...)
		}}
		if out := write(t, opened(t, m), object("uploads/a", text(size))); out.Written != 1 {
			t.Errorf("%d: %+v", size, out)
		}
		has(t, m, "a", text(size))
	}
}

// Another writer is faster at each moment: its object stays, or is replaced.
func TestRace(t *testing.T) {
	for _, op := range []string{objectstest.Put, objectstest.Begin, objectstest.Part, objectstest.Complete} {
		for _, theirs := range []string{"same", "other"} {
			for _, over := range []bool{false, true} {
				size := 350
				if op == objectstest.Put {
					size = 50
				}
				ours := text(size)
				body := ours
				if theirs == "other" {
					body = strings.ToUpper(strings.Replace(ours, "1", "x", 1))
				}
				var m *objectstest.Memory
				var done atomic.Bool
				m = &objectstest.Memory{PartBytes: 100, Fault: func(at, key string) error {
					if at == op && !done.Swap(true) {
						m.Store(key, []byte(body))
					}
					return nil
				}}
				out := write(t, opened(t, m, func(c *Config) { c.Replace = over }), object("uploads/a", ours))
				want := ours
				if theirs == "other" && !over {
					want = body
				}
				has(t, m, "a", want)
				if (out.Written == 1) != (want == ours) || (len(out.Refused) == 1) != (want != ours) || len(m.Pending()) > 0 {
					t.Errorf("%s, %s, %v: %+v, pending %q", op, theirs, over, out, m.Pending())
				}
			}
		}
	}
}

// broken is an object whose source fails: to open, or after some bytes.
func broken(name string, size int64, open error, before int, read error) *pipeline.Object {
	return &pipeline.Object{Name: name, Bytes: size, Open: func(context.Context) (io.ReadCloser, error) {
		if open != nil {
			return nil, open
		}
		return io.NopCloser(io.MultiReader(strings.NewReader(text(before)), errReader{read})), nil
	}}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

func TestSourceFaults(t *testing.T) {
	busy := pipeline.Transient(syscall.ESTALE)
	closed := pipeline.Environment("reading", errDead, "look")
	cases := []struct {
		name    string
		open    error
		before  int // in hundredths of the size
		read    error
		refused pipeline.Reason
		gone    bool
		err     error
		again   bool
		left    bool // the parts stay
	}{
		{name: "denied", open: fs.ErrPermission, refused: pipeline.Unreadable},
		{name: "vanished", open: fmt.Errorf("opening: %w", fs.ErrNotExist), gone: true},
		{name: "vanished while read", before: 70, read: fs.ErrNotExist, gone: true},
		{name: "broken", before: 70, read: syscall.EIO, refused: pipeline.Unreadable},
		{name: "broken at the end", before: 100, read: syscall.EIO, refused: pipeline.Unreadable},
		{name: "busy", open: busy, err: syscall.ESTALE, again: true, left: true},
		{name: "busy while read", before: 70, read: busy, err: syscall.ESTALE, again: true, left: true},
		{name: "busy at the end", before: 100, read: busy, err: syscall.ESTALE, again: true, left: true},
		{name: "the whole source is closed", open: closed, err: errDead},
		{name: "shorter", before: 70, read: io.EOF, err: errChanged, again: true},
		{name: "empty", before: 0, read: io.EOF, err: errChanged, again: true},
		{name: "longer", before: 101, read: io.EOF, err: errChanged, again: true},
		{name: "replaced", before: 70, read: store.ErrChanged, err: store.ErrChanged, again: true, left: true},
		{name: "cut off", before: 70, read: store.ErrDigest, err: store.ErrDigest, again: true, left: true},
	}
	for _, c := range cases {
		for _, size := range []int{100, 1000} {
			t.Run(fmt.Sprintf("%s/%d", c.name, size), func(t *testing.T) {
				m := &objectstest.Memory{PartBytes: 100}
				s := opened(t, m)
				o := broken("uploads/a", int64(size), c.open, size*c.before/100, c.read)
				out, err := s.Write(t.Context(), batch(o, object("uploads/good", "1")))
				switch {
				case c.err != nil:
					if !errors.Is(err, c.err) || pipeline.IsRetryable(err) != c.again {
						t.Errorf("%+v, %v", out, err)
					}
					if errors.Is(c.open, closed) && pipeline.ExitCode(err) != pipeline.ExitEnvironment {
						t.Errorf("exit code %d", pipeline.ExitCode(err))
					}
				case c.gone:
					if err != nil || out.Written != 1 || len(out.Changed) != 1 || out.Changed[0].Reason != Vanished || out.Changed[0].Key != "uploads/a" || len(out.Refused) > 0 {
						t.Errorf("%+v, %v", out, err)
					}
				default:
					if err != nil || out.Written != 1 || len(out.Refused) != 1 || out.Refused[0].Reason != c.refused || len(out.Changed) > 0 {
						t.Errorf("%+v, %v", out, err)
					}
				}
				if _, ok := m.Content("a"); ok || !c.left && !errors.Is(c.err, errDead) && len(m.Pending()) > 0 {
					t.Errorf("keys %q, pending %q", m.Keys(), m.Pending())
				}
				// Once it is readable the target has it whole, whatever was left.
				if out := write(t, s, object("uploads/a", text(size)), object("uploads/good", "1")); out.Written != 2 {
					t.Errorf("next: %+v", out)
				}
				has(t, m, "a", text(size))
				has(t, m, "good", "1")
			})
		}
	}
}

// A source that changes between two passes, or between two runs, never becomes a
// mixture.
func TestSourceReplaced(t *testing.T) {
	for _, need := range []bool{false, true} {
		for _, sequential := range []bool{false, true} {
			m := &objectstest.Memory{PartBytes: 100, NeedMD5: need, Sequential: sequential}
			opens := 0
			o := object("uploads/a", "")
			o.Bytes = 1000
			o.Open = func(context.Context) (io.ReadCloser, error) {
				opens++
				return io.NopCloser(strings.NewReader(strings.Replace(text(1000), "200", fmt.Sprint(200+opens), 1))), nil
			}
			out, err := opened(t, m).Write(t.Context(), batch(o))
			if need {
				if !errors.Is(err, errDigest) || !pipeline.IsRetryable(err) || len(m.Keys())+len(m.Pending()) > 0 {
					t.Errorf("two passes: %+v, %v, keys %q, pending %q", out, err, m.Keys(), m.Pending())
				}
				continue
			}
			if err != nil || out.Written != 1 || opens != 1 {
				t.Errorf("one pass: %+v, %v, %d opens", out, err, opens)
			}
			// An interrupted run has left parts of another content.
			m = &objectstest.Memory{PartBytes: 100, Sequential: sequential, Fault: failing(objectstest.Complete, errDead)}
			s := opened(t, m)
			if _, err := s.Write(t.Context(), batch(object("uploads/a", strings.Repeat("x", 1000)))); !errors.Is(err, errDead) {
				t.Fatal(err)
			}
			for _, size := range []int{1000, 1234} {
				if out := write(t, s, object("uploads/a", text(size))); out.Written != 1 {
					t.Errorf("%d: %+v", size, out)
				}
				has(t, m, "a", text(size))
				m.Remove("a")
			}
		}
	}
}
