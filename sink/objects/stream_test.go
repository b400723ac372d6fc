package objects

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"outgrow/mappings/objects/objectstest"
	"outgrow/pipeline"
)

// A file is streamed without a buffer, anything else is sent from memory.
func TestStream(t *testing.T) {
	for _, size := range []int{101, 299, 300, 301, 1234} {
		m := &objectstest.Memory{PartBytes: 100, Sequential: true, Span: 300, NeedCRC32C: true}
		s := opened(t, m)
		write(t, s, file("uploads/file", text(size)))
		if s.buffers.peak > 0 {
			t.Errorf("%d: %d bytes of buffers", size, s.buffers.peak)
		}
		write(t, s, object("uploads/other", text(size)))
		if s.buffers.peak == 0 {
			t.Errorf("%d: no buffers", size)
		}
		has(t, m, "file", text(size))
		has(t, m, "other", text(size))
	}
}

// A run that dies leaves what the store has; the next sends only the rest.
func TestStreamResumes(t *testing.T) {
	body := text(1950)
	for dies := 1; dies <= 20; dies++ {
		ctx, cancel := context.WithCancelCause(t.Context())
		stop, sent := errors.New("stopped"), 0
		m := &objectstest.Memory{PartBytes: 100, Sequential: true, Span: 500, NeedCRC32C: true}
		m.Lost = func(op, _ string) error {
			if op == objectstest.Part {
				if sent++; sent == dies {
					cancel(stop)
				}
			}
			return nil
		}
		if _, err := opened(t, m).Write(ctx, batch(file("uploads/a", body))); !errors.Is(err, stop) {
			t.Fatalf("dies at %d: %v", dies, err)
		}
		m.Lost = nil
		before := m.Calls(objectstest.Part)
		if out := write(t, opened(t, m), file("uploads/a", body)); out.Written != 1 {
			t.Errorf("dies at %d: %+v", dies, out)
		}
		if again := m.Calls(objectstest.Part) - before; again != 20-sent {
			t.Errorf("dies at %d: %d parts were sent again, %d were missing", dies, again, 20-sent)
		}
		has(t, m, "a", body)
	}
}

// rereading is a file whose second reading fails: it ends early, or with an error.
type rereading struct {
	opener
	until int64
	err   error
}

func (r rereading) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > r.until {
		return 0, r.err
	}
	return r.opener.ReadAt(p, at)
}

// What goes wrong when a file is read again is the source's failure.
func TestStreamSourceFaults(t *testing.T) {
	for _, c := range []struct {
		err     error
		refused bool
		want    error
	}{
		{io.EOF, false, errChanged},
		{syscall.EIO, true, nil},
		{pipeline.Transient(syscall.ESTALE), false, syscall.ESTALE},
	} {
		m := &objectstest.Memory{PartBytes: 100, Sequential: true, Span: 300, NeedCRC32C: true}
		s, o := opened(t, m), file("uploads/a", text(1000))
		o.Open = func(context.Context) (io.ReadCloser, error) {
			return rereading{opener{strings.NewReader(text(1000))}, 700, c.err}, nil
		}
		out, err := s.Write(t.Context(), batch(o))
		if !errors.Is(err, c.want) || c.want != nil && !pipeline.IsRetryable(err) || (len(out.Refused) == 1) != c.refused || c.refused && out.Refused[0].Reason != pipeline.Unreadable {
			t.Errorf("%v: %+v, %v", c.err, out, err)
		}
		if out := write(t, s, file("uploads/a", text(1000))); out.Written != 1 {
			t.Errorf("%v, next: %+v", c.err, out)
		}
		has(t, m, "a", text(1000))
	}
}
