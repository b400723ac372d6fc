// Package pinecone reads the vector lane from the Pinecone index of Open
// WebUI's client. A unit is a collection, under its own name.
//
// An index can only be listed as a whole, and no listing tells what collection
// a record is of. So the first need for it lists all ids and fetches each record
// once, into a private file on disk (see spool); units, counts, keys and batches
// come from there. That takes room for all the records and no memory. It is
// done once for each opened Source: what is written to the index later is not
// seen, except by Get and Search, which ask the index itself.
//
// Pinecone shows a write some seconds after it has acknowledged it. The listing
// is therefore repeated until it has at least as many ids as the index counts,
// for at most Config.FreshWait; [Source.Check] tells when that was not enough.
package pinecone

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"

	sdk "github.com/pinecone-io/go-pinecone/v5/pinecone"

	"outgrow/mappings/env"
	layout "outgrow/mappings/pinecone"
	"outgrow/pipeline"
)

// Config says what to read.
type Config struct {
	Store  env.PineconeConfig
	Log    *slog.Logger    // may be nil
	Limits pipeline.Limits // of a batch; 1000 records or 8 MiB by default
	// Readers is how many fetches are under way at the same time; 0 means 4.
	// Pinecone allows an index 100 a second.
	Readers int
	// TempDir is where the records are kept meanwhile; "" for the system's.
	TempDir string
	// FreshWait bounds the wait for writes to show; 0 means 2 minutes, less
	// than 0 none.
	FreshWait time.Duration
	// Backoff is for the requests that the engine does not repeat.
	Backoff pipeline.Backoff
}

// Source is the reader. It is safe for concurrent use.
type Source struct {
	cfg   Config
	index *layout.Index
	conn  *sdk.IndexConnection

	mu     sync.Mutex // held while the spool is filled
	spool  *records
	full   bool
	units  []pipeline.Unit
	facts  facts
	closed bool
}

// facts are what filling the spool found.
type facts struct {
	foreign   int64 // records in Open WebUI's namespace without its collection_name
	elsewhere int64 // records in other namespaces
	missing   int64 // records that the index counts and does not list
}

var (
	_ pipeline.Source[*pipeline.Vector] = (*Source)(nil)
	_ pipeline.Getter[*pipeline.Vector] = (*Source)(nil)
	_ pipeline.Counter                  = (*Source)(nil)
	_ pipeline.KeyLister                = (*Source)(nil)
	_ pipeline.Splitter                 = (*Source)(nil)
	_ pipeline.Searcher                 = (*Source)(nil)
	_ pipeline.Checker                  = (*Source)(nil)
	_ pipeline.Identifier               = (*Source)(nil)
)

// Open finds the index. It changes nothing: one that is not there is an error.
func Open(ctx context.Context, cfg Config) (*Source, error) {
	const op = "opening Pinecone"
	if cfg.Readers <= 0 {
		cfg.Readers = 4
	}
	if cfg.FreshWait == 0 {
		cfg.FreshWait = 2 * time.Minute
	}
	cfg.Limits = cfg.Limits.WithDefaults(1000, 8<<20)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	client, err := layout.Dial(cfg.Store)
	if err != nil {
		return nil, err
	}
	s := &Source{cfg: cfg}
	if err := s.retry(ctx, func() (err error) { s.index, err = client.Find(ctx); return err }); err != nil {
		return nil, err
	}
	switch {
	case s.index == nil:
		return nil, pipeline.Environment(op, fmt.Errorf("there is no index %s", cfg.Store.Index), "check PINECONE_INDEX_NAME, and that PINECONE_API_KEY is of the index's project")
	case !s.index.Listable:
		return nil, pipeline.Environment(op, errors.New("the ids of an index on pods cannot be listed"), "make a serverless index of it in Pinecone's console (collection, then index from collection)")
	case !s.index.Dense:
		return nil, pipeline.Environment(op, fmt.Errorf("index %s has sparse vectors, which Open WebUI does not use", cfg.Store.Index), "check PINECONE_INDEX_NAME")
	}
	if s.conn, err = client.Connect(s.index); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends the connection and removes the private copy. A second call is
// harmless.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.conn.Close()
	if s.spool != nil {
		err = errors.Join(err, s.spool.Close())
	}
	return err
}

// Units lists the collections by name, with exact counts.
func (s *Source) Units(ctx context.Context) ([]pipeline.Unit, error) {
	if _, err := s.filled(ctx); err != nil {
		return nil, err
	}
	return append([]pipeline.Unit(nil), s.units...), nil
}

// Count counts a collection's records.
func (s *Source) Count(ctx context.Context, u pipeline.Unit) (int64, error) {
	if _, err := s.filled(ctx); err != nil {
		return 0, err
	}
	for _, have := range s.units {
		if have.Name == u.Name {
			return have.Records, nil
		}
	}
	return 0, nil
}

// keyPage is how many ids are held at once.
const keyPage = 10_000

// Keys lists a collection's ids.
func (s *Source) Keys(ctx context.Context, u pipeline.Unit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		sp, err := s.filled(ctx)
		var after []byte
		for err == nil {
			var ids []string
			if ids, err = sp.ids(u.Name, after, keyPage); err != nil {
				break
			}
			for _, id := range ids {
				if ctx.Err() != nil {
					yield("", context.Cause(ctx))
					return
				}
				if !yield(id, nil) {
					return
				}
			}
			if len(ids) < keyPage {
				return
			}
			after = []byte(ids[len(ids)-1])
		}
		yield("", local("listing keys of "+u.ID(), err))
	}
}

// A cursor is "=" and the last id.
func cursor(id string) pipeline.Cursor { return pipeline.Cursor("=" + id) }

func position(c pipeline.Cursor) []byte {
	if id, ok := strings.CutPrefix(string(c), "="); ok {
		return []byte(id)
	}
	return nil
}

// Read yields the records behind the cursor in the byte order of their ids.
func (s *Source) Read(ctx context.Context, part pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Vector], error] {
	return func(yield func(pipeline.Batch[*pipeline.Vector], error) bool) {
		at := after
		if at == "" {
			at = part.From
		}
		sp, err := s.filled(ctx)
		for err == nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
				break
			}
			b := pipeline.Batch[*pipeline.Vector]{Part: part, Prev: at}
			b.Records, b.Bytes, err = sp.page(ctx, part.Unit.Name, position(at), string(position(part.To)), s.cfg.Limits)
			if err != nil {
				break
			}
			if b.Read = len(b.Records); b.Read == 0 {
				return
			}
			at = cursor(b.Records[b.Read-1].ID)
			b.Next = at
			if !yield(b, nil) {
				return
			}
		}
		yield(pipeline.Batch[*pipeline.Vector]{}, local("reading "+part.Unit.ID(), err))
	}
}

// Split cuts a collection into ranges of ids with the same number of records.
func (s *Source) Split(ctx context.Context, u pipeline.Unit, n int) ([]pipeline.Part, error) {
	sp, err := s.filled(ctx)
	if err != nil {
		return nil, err
	}
	count, err := s.Count(ctx, u)
	if err != nil {
		return nil, err
	}
	n = int(min(int64(n), count))
	parts := []pipeline.Part{{Unit: u}}
	if n < 2 {
		return parts, nil
	}
	cuts, err := sp.cuts(u.Name, n)
	if err != nil {
		return nil, local("cutting "+u.ID(), err)
	}
	for i, id := range cuts {
		c := cursor(id)
		parts[i].To = c
		parts = append(parts, pipeline.Part{Unit: u, N: i + 1, From: c})
	}
	return parts, nil
}
