package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

// open opens the content of what was listed.
func (s *Source) open(ctx context.Context, info objects.Info) (io.ReadCloser, error) {
	r, err := s.cfg.Bucket.Open(ctx, info, 0)
	if err != nil {
		return nil, s.failed(info, err)
	}
	c := &content{ctx: ctx, s: s, info: info, r: r}
	if know := info.Sums.Known(); know != 0 {
		c.check(info.Sums)
	} else if summed, ok := r.(objects.Summed); ok {
		c.check(summed.Sums())
	}
	return c, nil
}

// failed names the object. One that was replaced since it was listed is not
// what its record says: only a new listing helps.
func (s *Source) failed(info objects.Info, err error) error {
	if errors.Is(err, objects.ErrChanged) {
		return &pipeline.Error{Op: "reading", Key: name(info.Key), Err: err, Hint: "run the same command again: it lists the objects anew"}
	}
	return fmt.Errorf("reading %s: %w", name(info.Key), err)
}

const (
	// reopens is how often in a row a content is gone on with that broke off.
	reopens = 5
	// progress ends such a row, in bytes.
	progress = 1 << 20
)

// content is one object's, whole: what the store sends may come in pieces.
type content struct {
	ctx    context.Context //nolint:containedctx // that of the Open which it continues
	s      *Source
	info   objects.Info
	r      io.ReadCloser
	at     int64 // bytes read
	tries  int   // since from
	from   int64
	expect objects.Sums // the one digest to check
	hash   *objects.Hasher
	err    error // the end
}

// check has the content compared with one of the digests, the cheapest.
func (c *content) check(sums objects.Sums) {
	a := sums.Known()
	a &= -a
	c.expect, c.hash = sums.Only(a), objects.NewHasher(a)
}

// Read goes on after an error that another request may get past. It ends with
// io.EOF only when length and digest are right.
func (c *content) Read(p []byte) (int, error) {
	for c.err == nil {
		if c.ctx.Err() != nil {
			c.err = context.Cause(c.ctx)
			break
		}
		n, err := c.r.Read(p)
		c.at += int64(n)
		if c.hash != nil {
			_, _ = c.hash.Write(p[:n])
		}
		switch {
		case c.at > c.info.Bytes:
			c.err = c.s.failed(c.info, fmt.Errorf("more than %d bytes arrived: %w", c.info.Bytes, objects.ErrChanged))
			continue
		case err == nil && (n > 0 || len(p) == 0):
			return n, nil
		case err == nil:
			continue
		case errors.Is(err, io.EOF) && c.at == c.info.Bytes:
			c.err = c.end()
		default:
			c.err = c.reopen(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, c.err
}

// end is io.EOF, or the error that the content is not that of its digest.
func (c *content) end() error {
	if c.hash == nil || c.hash.Sums() == c.expect {
		return io.EOF
	}
	return pipeline.Transient(c.s.failed(c.info, objects.ErrDigest))
}

// reopen asks for the rest. Why the content broke off does not matter: the next
// request is the one whose error tells whether it can be had.
func (c *content) reopen(cause error) error {
	switch {
	case c.ctx.Err() != nil:
		return context.Cause(c.ctx)
	case errors.Is(cause, objects.ErrChanged), errors.Is(cause, fs.ErrNotExist):
		return c.s.failed(c.info, cause)
	case errors.Is(cause, objects.ErrDigest): // the store's client has compared
		return pipeline.Transient(c.s.failed(c.info, cause))
	case errors.Is(cause, io.EOF):
		cause = io.ErrUnexpectedEOF
	}
	if c.at-c.from >= progress {
		c.tries, c.from = 0, c.at
	}
	if c.tries == reopens {
		return pipeline.Transient(c.s.failed(c.info, cause))
	}
	_ = c.r.Close()
	c.r = io.NopCloser(nil)
	backoff := c.s.cfg.Backoff
	backoff.Attempts = 1 + reopens - c.tries
	err := backoff.Do(c.ctx, func(n int) error {
		if n == 0 { // the wait comes first
			return pipeline.Transient(cause)
		}
		c.tries++
		r, err := c.s.cfg.Bucket.Open(c.ctx, c.info, c.at)
		if err == nil {
			c.r = r
		}
		return err
	})
	if err != nil {
		return c.s.failed(c.info, err)
	}
	return nil
}

// Close gives the content up.
func (c *content) Close() error {
	if c.err == nil {
		c.err = fs.ErrClosed
	}
	return c.r.Close()
}
