package gcs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"sync"

	"outgrow/mappings/gcs"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

// parts is a resumable upload.
type parts struct {
	u    *Uploader
	up   objects.Upload
	s    *session
	file string // where it is remembered, "" for nowhere
	part int64
	edge int64 // what is sent from here on makes the object
	had  int64 // what an earlier run has sent

	mu   sync.Mutex
	at   mark // what the server has
	next mark // what it has if the last request arrived
	sure bool // it is at
	tail []byte
	dead error // why the upload cannot go on
}

// mark is an offset with the CRC32C of what lies before it. The CRC32C counts
// only for an emulator.
type mark struct {
	Bytes  int64  `json:"bytes"`
	CRC32C uint32 `json:"crc32c"`
}

// Write moves the mark on. It never fails.
func (m *mark) Write(body []byte) (int, error) {
	m.Bytes += int64(len(body))
	m.CRC32C = crc32.Update(m.CRC32C, crc32.MakeTable(crc32.Castagnoli), body)
	return len(body), nil
}

var _ objects.Streamer = (*parts)(nil)

var (
	errParts = errors.New("the parts are not those of the object")
	errStuck = errors.New("the server takes nothing of what is sent")
)

// Begin goes on with the upload of this very content that an earlier run has
// left, or begins one. ErrTaken may mean that the earlier one has arrived.
func (u *Uploader) Begin(ctx context.Context, up objects.Upload) (objects.Parts, error) {
	p := &parts{u: u, up: up, file: u.state.file(u, up), part: u.PartSize(up.Bytes), edge: (up.Bytes - 1) / quantum * quantum}
	left, err := u.state.load(p.file)
	if err != nil {
		return nil, err
	}
	if left != nil {
		p.s, p.at, p.next = &session{u: u, uri: left.uri(u), bytes: up.Bytes}, left.At, left.Next
		err := p.resume(ctx)
		switch {
		case err == nil:
			p.had = p.at.Bytes
			return p, nil
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	p.at, p.next, p.sure, p.dead = mark{}, mark{}, true, nil
	if p.s, err = u.start(ctx, up); err != nil {
		return nil, err
	}
	return p, p.remember()
}

// Has reports whether an earlier run has sent that part, whole. The last one
// never is: its end makes the object.
func (p *parts) Has(n int, bytes int64, _ uint32) bool {
	end := int64(n)*p.part + bytes
	return end <= p.had && end < p.up.Bytes
}

// Parallel reports that parts come one after the other.
func (p *parts) Parallel() bool { return false }

// Put sends what the server has not got of a part.
func (p *parts) Put(ctx context.Context, n int, body []byte, _ uint32) error {
	start := int64(n) * p.part
	return p.Stream(ctx, part{bytes.NewReader(body), start}, start, start+int64(len(body)))
}

// part is what lies from an offset on.
type part struct {
	body  *bytes.Reader
	start int64
}

func (p part) ReadAt(b []byte, at int64) (int, error) { return p.body.ReadAt(b, at-p.start) }

// Span is how much is streamed in one request.
func (p *parts) Span() int64 { return p.u.span(p.up.Bytes) }

// Stream sends what the server has not got of the bytes between two offsets.
func (p *parts) Stream(ctx context.Context, content io.ReaderAt, from, to int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if to == p.up.Bytes {
		tail := make([]byte, to-p.edge)
		if _, err := io.ReadFull(io.NewSectionReader(content, p.edge, to-p.edge), tail); err != nil {
			return &pipeline.Error{Op: p.op(), Err: err}
		}
		p.tail, to = tail, p.edge
	}
	if err := p.resume(ctx); err != nil {
		return err
	}
	for p.at.Bytes < to {
		if p.at.Bytes < from {
			return p.lose(p.op(), fmt.Errorf("the server has only %d bytes: %w", p.at.Bytes, errParts))
		}
		if err := p.send(ctx, io.NewSectionReader(content, p.at.Bytes, to-p.at.Bytes)); err != nil {
			return err
		}
	}
	return nil
}

func (p *parts) op() string { return fmt.Sprintf("storing %s from byte %d on", p.up.Key, p.at.Bytes) }

// send sends the next bytes, of which the server may take only some. They are
// not the last ones.
func (p *parts) send(ctx context.Context, body *io.SectionReader) error {
	next := mark{Bytes: p.at.Bytes + body.Size()}
	if p.u.emulated() {
		next = p.at
		if _, err := io.Copy(&next, io.NewSectionReader(body, 0, body.Size())); err != nil {
			return &pipeline.Error{Op: p.op(), Err: err}
		}
	}
	p.next, p.sure = next, false
	if p.u.emulated() {
		if err := p.remember(); err != nil {
			return err
		}
	}
	got, err := p.s.send(ctx, p.at.Bytes, body)
	if err != nil {
		return p.failed(ctx, err)
	}
	if got.made != nil || got.bytes > p.next.Bytes {
		return p.lose(p.op(), errAnswer)
	}
	return p.reached(got)
}

// reached takes over what the server says that it has.
func (p *parts) reached(got progress) error {
	switch {
	case got.crc != nil && *got.crc == p.next.CRC32C, got.crc == nil && got.bytes == p.next.Bytes:
		p.at = p.next
	case got.crc != nil:
		return p.damaged()
	case got.bytes > p.at.Bytes:
		p.at = mark{Bytes: got.bytes}
	default:
		return &pipeline.Error{Op: p.op(), Err: pipeline.Transient(errStuck)}
	}
	p.sure = true
	return nil
}

// resume finds out how far the upload has got, where that is not known.
func (p *parts) resume(ctx context.Context) error {
	if p.dead != nil || p.sure {
		return p.dead
	}
	got, err := p.s.status(ctx)
	switch {
	case err != nil:
		return p.failed(ctx, err)
	case got.made != nil:
		// Another look shows whether this is the object.
		p.forget()
		p.dead = fmt.Errorf("%s: %w", p.op(), objects.ErrTaken)
		return p.dead
	case !p.u.emulated():
		p.at, p.sure = mark{Bytes: got.bytes}, true
	case got.crc != nil && *got.crc == p.next.CRC32C:
		p.at, p.sure = p.next, true
	case got.crc != nil && *got.crc == p.at.CRC32C:
		p.sure = true
	default:
		return p.lose(p.op(), errParts)
	}
	return nil
}

// Complete sends the rest, which makes the object.
func (p *parts) Complete(ctx context.Context, sums objects.Sums) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	op := "completing the upload of " + p.up.Key
	if err := p.resume(ctx); err != nil {
		return err
	}
	switch {
	case sums.CRC32C != p.up.Sums.CRC32C:
		return p.damaged()
	case p.tail == nil || p.at.Bytes < p.edge:
		return &pipeline.Error{Op: op, Err: errParts}
	}
	for {
		rest := p.tail[p.at.Bytes-p.edge:]
		p.next, p.sure = p.at, false
		_, _ = p.next.Write(rest)
		if p.u.emulated() && objects.FormatCRC32C(p.next.CRC32C) != sums.CRC32C {
			return p.damaged()
		}
		got, err := p.s.send(ctx, p.at.Bytes, io.NewSectionReader(bytes.NewReader(rest), 0, int64(len(rest))))
		switch {
		case gcs.Status(err) == http.StatusPreconditionFailed, gcs.Status(err) == http.StatusBadRequest:
			p.forget()
			p.dead = p.u.refused(ctx, op, p.up.Key, err)
			return p.dead
		case err != nil:
			return p.failed(ctx, err)
		case got.made != nil:
			p.forget()
			return p.u.verify(ctx, op, p.up, got.made)
		}
		if err := p.reached(got); err != nil {
			return err
		}
		if p.at.Bytes == p.up.Bytes {
			return p.lose(op, errAnswer)
		}
	}
}

// Abort gives the upload up.
func (p *parts) Abort(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget()
	if err := p.s.end(ctx); err != nil {
		return p.u.b.Classify(ctx, "giving up the upload of "+p.up.Key, err)
	}
	return nil
}

// failed is the error of a request about the upload: another one may tell what
// became of it, unless the server does not know the upload any more.
func (p *parts) failed(ctx context.Context, err error) error {
	if lost(err) {
		return p.lose(p.op(), err)
	}
	return p.u.b.Classify(ctx, p.op(), err)
}

// lose forgets an upload that cannot go on: another one has to be begun.
func (p *parts) lose(op string, err error) error {
	p.forget()
	p.dead = &pipeline.Error{Op: op, Err: fmt.Errorf("the upload is lost: %w: %w", fs.ErrNotExist, err)}
	return p.dead
}

// damaged forgets an upload whose bytes are wrong.
func (p *parts) damaged() error {
	p.forget()
	p.dead = &pipeline.Error{Op: p.op(), Err: pipeline.Transient(objects.ErrDigest)}
	return p.dead
}

func (p *parts) remember() error {
	return p.u.state.save(p.file, remembered{Session: p.s.uri, At: p.at, Next: p.next})
}

func (p *parts) forget() { p.u.state.remove(p.file) }
