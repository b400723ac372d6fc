// Package objectstest is an object store in memory, for the tests of what reads
// and writes object stores. It keeps to the contracts of [objects.Bucket],
// [objects.Uploader] and [objects.Parts] to the letter, is as strict as they
// allow, and fails where it is told to.
package objectstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

// Operations, as the hooks are told of them.
const (
	List     = "list" // before each object of a listing
	Head     = "head"
	Open     = "open"
	Read     = "read" // before each Read of an opened content
	Put      = "put"
	Begin    = "begin"
	Part     = "part"
	Complete = "complete"
	Abort    = "abort"
	Delete   = "delete"
)

// Memory is a bucket. Its zero value is empty and ready; the fields are set
// before it is used. It is safe for concurrent use, as are the hooks to be.
type Memory struct {
	// Lists and Keeps say which digests a listing and Head give; Keeps 0 means
	// CRC32C, Lists 0 none.
	Lists, Keeps objects.Algorithms
	// Hides makes it a store without any digest, whatever Keeps says.
	Hides bool
	// PartBytes is the size of parts, 0 for 1 MiB.
	PartBytes int64
	// Sequential: parts are sent in order, as to GCS.
	Sequential bool
	// Span is how many bytes are streamed at once, 0 for a store that is no
	// Streamer.
	Span int64
	// NeedCRC32C and NeedMD5 are what Needs reports.
	NeedCRC32C, NeedMD5 bool
	// VerifyBy says by which sums Complete verifies; 0 means CRC32C and MD5.
	VerifyBy objects.Algorithms
	// Fault is called before an operation; its error is the operation's.
	Fault func(op, key string) error
	// Lost is called after an operation that writes took effect; its error is
	// the answer that arrives instead.
	Lost func(op, key string) error
	// Damage changes bytes on their way: what is read (Read) or sent (Put,
	// Part). It must not change its argument.
	Damage func(op, key string, body []byte) []byte

	mu      sync.Mutex
	clock   int64
	stored  map[string]object
	pending map[string]*upload
	calls   map[string]int
}

type object struct {
	info objects.Info
	body []byte
	tags map[string]string
}

var (
	_ objects.Bucket   = (*Memory)(nil)
	_ objects.Uploader = (*Memory)(nil)
	_ objects.Verifier = (*Memory)(nil)
)

// Store puts an object there, in place of any that is, past every hook.
func (m *Memory) Store(key string, body []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store(key, slices.Clone(body), nil)
}

// Remove removes an object, past every hook.
func (m *Memory) Remove(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.stored, key)
}

// Content gives an object's bytes, nil and false when there is none.
func (m *Memory) Content(key string) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.stored[key]
	return slices.Clone(o.body), ok
}

// Tags gives an object's tags.
func (m *Memory) Tags(key string) map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.stored[key].tags)
}

// Keys lists the keys in order.
func (m *Memory) Keys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.stored))
}

// Pending lists the keys of the uploads that are neither complete nor aborted.
func (m *Memory) Pending() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.pending))
}

// Calls counts the calls of an operation, those that failed included.
func (m *Memory) Calls(op string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[op]
}

func (m *Memory) store(key string, body []byte, tags map[string]string) {
	if m.stored == nil {
		m.stored = map[string]object{}
	}
	m.clock++
	m.stored[key] = object{body: body, tags: maps.Clone(tags), info: objects.Info{
		Key: key, Bytes: int64(len(body)), ModTime: time.Unix(1_800_000_000+m.clock, 0), Version: fmt.Sprint("v", m.clock),
		Sums: objects.SumsOfBytes(objects.CRC32C|objects.MD5|objects.SHA256, body)}}
}

// before counts the call and asks for a fault.
func (m *Memory) before(ctx context.Context, op, key string) error {
	m.mu.Lock()
	if m.calls == nil {
		m.calls = map[string]int{}
	}
	m.calls[op]++
	m.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if m.Fault != nil {
		return m.Fault(op, key)
	}
	return nil
}

func (m *Memory) after(op, key string) error {
	if m.Lost != nil {
		return m.Lost(op, key)
	}
	return nil
}

func (m *Memory) damaged(op, key string, body []byte) []byte {
	if m.Damage != nil {
		return m.Damage(op, key, body)
	}
	return body
}

// shown is what Head or a listing gives.
func (m *Memory) shown(info objects.Info, listed bool) objects.Info {
	keep := m.Keeps
	if keep == 0 {
		keep = objects.CRC32C
	}
	if listed {
		keep = m.Lists
	}
	if m.Hides {
		keep = 0
	}
	info.Sums = info.Sums.Only(keep)
	return info
}

// List gives the objects in falling order of their keys.
func (m *Memory) List(ctx context.Context) iter.Seq2[objects.Info, error] {
	return func(yield func(objects.Info, error) bool) {
		m.mu.Lock()
		var all []objects.Info
		for _, k := range slices.Sorted(maps.Keys(m.stored)) {
			all = append(all, m.shown(m.stored[k].info, true))
		}
		m.mu.Unlock()
		for _, info := range slices.Backward(all) {
			if err := m.before(ctx, List, info.Key); err != nil {
				yield(objects.Info{}, err)
				return
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (m *Memory) find(key string) (object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.stored[key]
	if !ok {
		return o, fmt.Errorf("%s: %w", key, fs.ErrNotExist)
	}
	return o, nil
}

// Head gives one object.
func (m *Memory) Head(ctx context.Context, key string) (objects.Info, error) {
	if err := m.before(ctx, Head, key); err != nil {
		return objects.Info{}, err
	}
	o, err := m.find(key)
	return m.shown(o.info, false), err
}

// Open gives the content from a byte on.
func (m *Memory) Open(ctx context.Context, info objects.Info, from int64) (io.ReadCloser, error) {
	if err := m.before(ctx, Open, info.Key); err != nil {
		return nil, err
	}
	o, err := m.find(info.Key)
	if err != nil {
		return nil, err
	}
	if info.Version != "" && info.Version != o.info.Version {
		return nil, fmt.Errorf("%s: %w", info.Key, objects.ErrChanged)
	}
	if from < 0 || from > int64(len(o.body)) {
		return nil, fmt.Errorf("%s has no byte %d", info.Key, from)
	}
	return &content{ctx: ctx, m: m, key: info.Key, r: bytes.NewReader(m.damaged(Read, info.Key, o.body)[from:])}, nil
}

type content struct {
	ctx context.Context //nolint:containedctx // that of the request
	m   *Memory
	key string
	r   *bytes.Reader
}

func (c *content) Read(p []byte) (int, error) {
	if err := c.m.before(c.ctx, Read, c.key); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func (c *content) Close() error { return nil }

var errContract = errors.New("the caller breaks the contract")

// verify compares the content that arrived with the digests that were sent.
func verify(body []byte, sums objects.Sums) error {
	if same, _ := sums.Compare(objects.SumsOfBytes(sums.Known(), body)); !same {
		return pipeline.Transient(objects.ErrDigest)
	}
	return nil
}
