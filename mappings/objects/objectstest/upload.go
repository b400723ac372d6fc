package objectstest

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"

	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

// Put stores a small object.
func (m *Memory) Put(ctx context.Context, up objects.Upload, body []byte) error {
	if err := m.before(ctx, Put, up.Key); err != nil {
		return err
	}
	if up.Sums.CRC32C == "" || up.Sums.MD5 == "" || int64(len(body)) != up.Bytes || up.Bytes > m.PartSize(up.Bytes) {
		return fmt.Errorf("Put of %+v with %d bytes: %w", up, len(body), errContract)
	}
	body = slices.Clone(m.damaged(Put, up.Key, body))
	if err := verify(body, up.Sums); err != nil {
		return err
	}
	m.mu.Lock()
	err := m.make(up, body)
	m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.after(Put, up.Key)
}

// make stores the object, under the condition.
func (m *Memory) make(up objects.Upload, body []byte) error {
	if _, ok := m.stored[up.Key]; ok && !up.Replace {
		return fmt.Errorf("%s: %w", up.Key, objects.ErrTaken)
	}
	m.store(up.Key, body, up.Tags)
	return nil
}

// PartSize is PartBytes.
func (m *Memory) PartSize(int64) int64 {
	if m.PartBytes > 0 {
		return m.PartBytes
	}
	return 1 << 20
}

// Needs reports NeedCRC32C and NeedMD5.
func (m *Memory) Needs() (crc32c, md5 bool) { return m.NeedCRC32C, m.NeedMD5 }

// Verifies is VerifyBy, and both when that is 0.
func (m *Memory) Verifies() objects.Algorithms {
	if m.VerifyBy == 0 {
		return objects.CRC32C | objects.MD5
	}
	return m.VerifyBy
}

// upload is an object on its way, as the store keeps it.
type upload struct {
	up    objects.Upload
	parts map[int][]byte
}

// Begin begins an upload or finds the one that is pending for the key. One in
// sequence is found only for the same content.
func (m *Memory) Begin(ctx context.Context, up objects.Upload) (objects.Parts, error) {
	if err := m.before(ctx, Begin, up.Key); err != nil {
		return nil, err
	}
	if m.NeedCRC32C && up.Sums.CRC32C == "" || m.NeedMD5 && up.Sums.MD5 == "" || up.Bytes <= m.PartSize(up.Bytes) {
		return nil, fmt.Errorf("Begin of %+v: %w", up, errContract)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pending == nil {
		m.pending = map[string]*upload{}
	}
	u := m.pending[up.Key]
	if u == nil || m.Sequential && (u.up.Bytes != up.Bytes || u.up.Sums.CRC32C != up.Sums.CRC32C) {
		u = &upload{parts: map[int][]byte{}}
		m.pending[up.Key] = u
	}
	u.up = up
	if m.Span > 0 {
		return &streamer{parts{m, u, up}}, nil
	}
	return &parts{m, u, up}, nil
}

// streamer keeps each stretch as parts.
type streamer struct{ parts }

// Span is the field of that name.
func (s *streamer) Span() int64 { return s.m.Span }

// Stream stores the parts that are not there; Span has to be a multiple of
// PartSize.
func (s *streamer) Stream(ctx context.Context, content io.ReaderAt, from, to int64) error {
	size := s.m.PartSize(s.up.Bytes)
	if from%size != 0 || to-from > s.m.Span || to%size != 0 && to != s.up.Bytes {
		return fmt.Errorf("bytes %d to %d of %s: %w", from, to, s.up.Key, errContract)
	}
	for ; from < to; from += size {
		body := make([]byte, min(size, to-from))
		if _, err := io.ReadFull(io.NewSectionReader(content, from, int64(len(body))), body); err != nil {
			return pipeline.Transient(err) // as a client that takes it for the connection's
		}
		n, crc := int(from/size), crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))
		if s.Has(n, int64(len(body)), crc) {
			continue
		}
		if err := s.Put(ctx, n, body, crc); err != nil {
			return err
		}
	}
	return nil
}

type parts struct {
	m  *Memory
	u  *upload
	up objects.Upload
}

func (p *parts) Has(n int, bytes int64, crc32c uint32) bool {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	b, ok := p.u.parts[n]
	return ok && int64(len(b)) == bytes && crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) == crc32c
}

func (p *parts) Parallel() bool { return !p.m.Sequential }

// size is that of part n.
func (p *parts) size(n int) int64 {
	part := p.m.PartSize(p.up.Bytes)
	return min(part, p.up.Bytes-int64(n)*part)
}

func (p *parts) Put(ctx context.Context, n int, body []byte, crc32c uint32) error {
	if err := p.m.before(ctx, Part, p.up.Key); err != nil {
		return err
	}
	if n < 0 || int64(len(body)) != p.size(n) {
		return fmt.Errorf("part %d of %s with %d bytes: %w", n, p.up.Key, len(body), errContract)
	}
	body = slices.Clone(p.m.damaged(Part, p.up.Key, body))
	if err := verify(body, objects.Sums{CRC32C: objects.FormatCRC32C(crc32c)}); err != nil {
		return err
	}
	p.m.mu.Lock()
	open := p.m.pending[p.up.Key] == p.u
	inOrder := n <= len(p.u.parts)
	if open && (inOrder || !p.m.Sequential) {
		p.u.parts[n] = body
	}
	p.m.mu.Unlock()
	switch {
	case !open:
		return fmt.Errorf("part %d of %s: the upload: %w", n, p.up.Key, fs.ErrNotExist)
	case p.m.Sequential && !inOrder:
		return fmt.Errorf("part %d of %s out of order: %w", n, p.up.Key, errContract)
	}
	return p.m.after(Part, p.up.Key)
}

func (p *parts) Complete(ctx context.Context, sums objects.Sums) error {
	if err := p.m.before(ctx, Complete, p.up.Key); err != nil {
		return err
	}
	if m := p.m.Verifies(); sums.Only(m).Known() != m {
		return fmt.Errorf("Complete of %s with %+v: %w", p.up.Key, sums, errContract)
	}
	if err := p.complete(sums); err != nil {
		return err
	}
	return p.m.after(Complete, p.up.Key)
}

func (p *parts) complete(sums objects.Sums) error {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if p.m.pending[p.up.Key] != p.u {
		return fmt.Errorf("completing %s: the upload: %w", p.up.Key, fs.ErrNotExist)
	}
	var body []byte
	for n := 0; int64(len(body)) < p.up.Bytes; n++ {
		b, ok := p.u.parts[n]
		if !ok || int64(len(b)) != p.size(n) {
			return fmt.Errorf("completing %s without part %d: %w", p.up.Key, n, errContract)
		}
		body = append(body, b...)
	}
	if err := verify(body, sums); err != nil {
		return err
	}
	delete(p.m.pending, p.up.Key) // ErrTaken leaves nothing behind either
	return p.m.make(p.up, body)
}

func (p *parts) Abort(ctx context.Context) error {
	if err := p.m.before(ctx, Abort, p.up.Key); err != nil {
		return err
	}
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if p.m.pending[p.up.Key] == p.u {
		delete(p.m.pending, p.up.Key)
	}
	return nil
}
