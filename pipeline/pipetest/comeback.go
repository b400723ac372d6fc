package pipetest

import (
	"bytes"
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"outgrow/pipeline"
)

// Mortal is a server that is killed and started again, with what it had stored.
type Mortal interface {
	Kill()
	Restart(tb testing.TB)
}

// Comeback kills the server in the middle of a content, of more than 1 MiB, and
// starts it again while it is read: the reader must go on to its end. open opens
// the content with that backoff, whose first wait ends at once, so that one try
// finds nobody, and whose next ones end when the server is back.
func Comeback(t *testing.T, server Mortal, body []byte, open func(pipeline.Backoff) io.ReadCloser) {
	t.Helper()
	back, waits := make(chan struct{}), 0
	r := open(pipeline.Backoff{Wait: func(ctx context.Context, _ time.Duration) error {
		if waits++; waits > 1 {
			<-back
		}
		return ctx.Err()
	}})
	defer r.Close() //nolint:errcheck // only read
	got := make([]byte, 1<<20)
	if _, err := io.ReadFull(r, got); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	go func() {
		server.Restart(t)
		close(back)
	}()
	rest, err := io.ReadAll(r)
	<-back
	if err != nil || !bytes.Equal(slices.Concat(got, rest), body) {
		t.Errorf("%d bytes, %v", len(got)+len(rest), err)
	}
}
