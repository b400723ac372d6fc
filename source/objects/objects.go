// Package objects reads the uploads in a bucket or container, whatever the
// store: what differs is behind [outgrow/mappings/objects.Bucket]. There is one
// unit, uploads; a record is an object, its name uploads/ and the key.
//
// # One listing
//
// A store lists in no order that others share, and cannot be cut. So the first
// need for it lists the bucket once, into a private file on disk; units, counts,
// keys, parts and batches come from there, in the byte order of the keys, and
// memory does not grow with the number of objects. What is put there or removed
// later is not seen; what is replaced is an error of the object that is read
// ([objects.ErrChanged]).
//
// # What is no record
//
// A key that ends in a slash and has no content is a folder as consoles make
// them: it is passed over, and so is what outgrow itself has not finished. A key
// that cannot be a file of Open WebUI's is refused.
//
// # Content
//
// A content that breaks off is gone on with from where it broke off, in the same
// version, and checked at its end against its length and the digest that the
// store keeps of it.
package objects

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"

	layout "outgrow/mappings/files"
	"outgrow/mappings/objects"
	"outgrow/mappings/spool"
	"outgrow/pipeline"
)

// Config says what to read.
type Config struct {
	Bucket objects.Bucket
	// Limits bounds a batch; its default is 256 objects or 256 MiB.
	Limits pipeline.Limits
	// Spool is the folder in which the listing is kept, "" for TMPDIR.
	Spool string
	// Stable is the identity that the deployment is known by.
	Stable string
	// Flat: Open WebUI reads from this store only what has no slash in its key
	// (GCS, Azure); other objects are read all the same, and Check tells.
	Flat bool
	// Backoff is for what the engine does not repeat: the listing, and going on
	// in a content that broke off.
	Backoff pipeline.Backoff
}

// Source is the reader. It is safe for concurrent use.
type Source struct {
	cfg Config

	mu     sync.Mutex // held while the listing is made
	list   *listing
	sum    summary
	closed bool
}

var (
	_ pipeline.Source[*pipeline.Object] = (*Source)(nil)
	_ pipeline.Getter[*pipeline.Object] = (*Source)(nil)
	_ pipeline.Counter                  = (*Source)(nil)
	_ pipeline.KeyLister                = (*Source)(nil)
	_ pipeline.Splitter                 = (*Source)(nil)
	_ pipeline.Identifier               = (*Source)(nil)
	_ pipeline.Checker                  = (*Source)(nil)
)

var errClosed = errors.New("the reader is closed")

// Open makes a reader of a bucket that is open. It asks the store nothing.
func Open(_ context.Context, cfg Config) (*Source, error) {
	if cfg.Bucket == nil {
		return nil, fmt.Errorf("opening the uploads: %w", errors.ErrUnsupported)
	}
	cfg.Limits = cfg.Limits.WithDefaults(256, 256<<20)
	return &Source{cfg: cfg}, nil
}

// Close removes the listing. A second call is harmless. Contents that are open
// can be read on.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.list == nil {
		return nil
	}
	err := s.list.Close()
	s.list = nil
	return err
}

// listed gives the listing, which the first call makes.
func (s *Source) listed(ctx context.Context) (*listing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case s.closed:
		return nil, errClosed
	case s.list != nil:
		return s.list, nil
	}
	l, err := openListing(s.cfg.Spool)
	if err != nil {
		return nil, err
	}
	err = s.cfg.Backoff.Do(ctx, func(int) error { return l.fill(ctx, s.cfg.Bucket) })
	if err == nil {
		s.sum, err = l.summary()
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	s.list = l
	return l, nil
}

// Units gives uploads, with its exact number of objects and bytes.
func (s *Source) Units(ctx context.Context) ([]pipeline.Unit, error) {
	if _, err := s.listed(ctx); err != nil {
		return nil, err
	}
	return []pipeline.Unit{{Lane: pipeline.Files, Name: layout.Uploads, Records: s.sum.objects, Bytes: s.sum.bytes}}, nil
}

// Count counts the objects, also those that Read refuses.
func (s *Source) Count(ctx context.Context, u pipeline.Unit) (int64, error) {
	if _, err := s.listed(ctx); err != nil || u.Name != layout.Uploads {
		return 0, err
	}
	return s.sum.objects, nil
}

// Identity names the uploads by Config.Stable, and their state by key, size and
// version of every object.
func (s *Source) Identity(ctx context.Context) (pipeline.Identity, error) {
	_, err := s.listed(ctx)
	id := pipeline.Identity{Stable: s.cfg.Stable, State: fmt.Sprintf("%d-%d-%s", s.sum.objects, s.sum.bytes, s.sum.mark)}
	if id.Stable == "" {
		id.Stable = "objects"
	}
	return id, err
}

// Keys lists the names of the objects in order.
func (s *Source) Keys(ctx context.Context, u pipeline.Unit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for info, err := range s.each(ctx, u, nil, "") {
			if err != nil {
				yield("", err)
				return
			}
			if !yield(name(info.Key), nil) {
				return
			}
		}
	}
}

// name is the record's name of a key.
func name(key string) string { return layout.Printable(layout.Uploads + "/" + key) }

// key is the way back; false for what is not in this unit.
func key(name string) (string, bool) {
	k, ok := strings.CutPrefix(name, layout.Uploads+"/")
	return k, ok && k != ""
}

// page is how many objects of the listing are in memory at a time, for each
// reader of it.
const page = 1000

// each gives the objects behind a key (nil for all), up to and with to ("" for
// the end), in order.
func (s *Source) each(ctx context.Context, u pipeline.Unit, after []byte, to string) iter.Seq2[objects.Info, error] {
	return func(yield func(objects.Info, error) bool) {
		l, err := s.listed(ctx)
		if err == nil && u.Name != layout.Uploads {
			return
		}
		for err == nil {
			var infos []objects.Info
			if infos, err = l.page(after, to, page); err != nil {
				break
			}
			for _, info := range infos {
				if ctx.Err() != nil {
					yield(objects.Info{}, context.Cause(ctx))
					return
				}
				if !yield(info, nil) {
					return
				}
			}
			if len(infos) < page {
				return
			}
			after = []byte(infos[len(infos)-1].Key)
		}
		yield(objects.Info{}, spool.Failed(kept, "reading the listing of "+u.ID(), err))
	}
}

// A cursor is "=" and the last key.
func cursor(key string) pipeline.Cursor { return pipeline.Cursor("=" + key) }

func position(c pipeline.Cursor) []byte {
	if k, ok := strings.CutPrefix(string(c), "="); ok {
		return []byte(k)
	}
	return nil
}

// Read yields the objects behind the cursor in the byte order of their keys,
// with the digests that the listing knows.
func (s *Source) Read(ctx context.Context, part pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Object], error] {
	return func(yield func(pipeline.Batch[*pipeline.Object], error) bool) {
		if after == "" {
			after = part.From
		}
		b := pipeline.Batch[*pipeline.Object]{Part: part, Prev: after}
		held := int64(0)
		for info, err := range s.each(ctx, part.Unit, position(after), string(position(part.To))) {
			if err != nil {
				yield(pipeline.Batch[*pipeline.Object]{Part: part, Prev: b.Prev}, err)
				return
			}
			o, refused := s.object(part.Unit, info)
			b.Read++
			if refused != nil {
				b.Refused = append(b.Refused, *refused)
			} else {
				b.Records = append(b.Records, o)
				b.Bytes += max(o.Bytes, 1)
				held += int64(o.Size())
			}
			b.Next = cursor(info.Key)
			if b.Read >= s.cfg.Limits.Records || max(b.Bytes, held) >= s.cfg.Limits.Bytes {
				full := b
				b, held = pipeline.Batch[*pipeline.Object]{Part: part, Prev: full.Next}, 0
				if !yield(full, nil) {
					return
				}
			}
		}
		if b.Read > 0 {
			yield(b, nil)
		}
	}
}

// weight is what an object costs beside its bytes, as bytes: a request.
const weight = 64 << 10

// Split cuts the keys into up to n ranges that take about the same time: an
// object weighs its bytes, and a little for being one.
func (s *Source) Split(ctx context.Context, u pipeline.Unit, n int) ([]pipeline.Part, error) {
	if _, err := s.listed(ctx); err != nil {
		return nil, err
	}
	parts := []pipeline.Part{{Unit: u}}
	total := s.sum.bytes + weight*s.sum.objects
	before, last := int64(0), ""
	for info, err := range s.each(ctx, u, nil, "") {
		if err != nil {
			return nil, err
		}
		// The next range begins where its share of the weight does.
		if p := len(parts); last != "" && p < n && before >= total/int64(n)*int64(p) {
			parts[p-1].To = cursor(last)
			parts = append(parts, pipeline.Part{Unit: u, N: p, From: cursor(last)})
		}
		before, last = before+info.Bytes+weight, info.Key
	}
	return parts, nil
}
