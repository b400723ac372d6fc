// Package chromahttp reads the vector lane from a Chroma server. A unit is a
// collection, under its own name.
//
// The server pages by limit and offset only, and an offset means another record
// as soon as one before it is deleted. So a collection's ids are listed in one
// answer, which is of one moment, are sorted (on disk beyond a few megabytes)
// and the records are fetched by id in that order: a cursor is the last id, and
// it stays right whatever comes and goes.
package chromahttp

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"outgrow/mappings/chromahttp"
	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// Config says what to read.
type Config struct {
	Store  env.ChromaConfig
	Log    *slog.Logger    // may be nil
	Limits pipeline.Limits // of a batch; 1000 records or 8 MiB by default
	// Readers is how many parts are read at the same time; 0 means 4.
	Readers int
	// Temp is the folder for lists of ids that are longer than fits in memory,
	// "" for the system's. Nothing stays there.
	Temp string
	// SortBytes is how many bytes of ids are sorted in memory; 0 means 4 MiB.
	SortBytes int
}

// Source is the reader. It is safe for concurrent use.
type Source struct {
	cfg    Config
	client *chromahttp.Client

	mu    sync.Mutex
	known map[string]*chromahttp.Collection
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

// Space is the reason of the finding about another distance than cosine.
const Space pipeline.Reason = "chroma-space"

// Open connects and changes nothing.
func Open(ctx context.Context, cfg Config) (*Source, error) {
	if cfg.Readers <= 0 {
		cfg.Readers = 4
	}
	if cfg.SortBytes <= 0 {
		cfg.SortBytes = 4 << 20
	}
	cfg.Limits = cfg.Limits.WithDefaults(1000, 8<<20)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	client, err := chromahttp.Dial(ctx, cfg.Store, cfg.Readers+1)
	if err != nil {
		return nil, err
	}
	return &Source{cfg: cfg, client: client, known: map[string]*chromahttp.Collection{}}, nil
}

// Close gives the connections back.
func (s *Source) Close() error { s.client.Close(); return nil }

// overhead is what a record without its vector takes at a guess, in bytes.
const overhead = 1500

// Units lists the collections by name. Bytes is a guess.
func (s *Source) Units(ctx context.Context) ([]pipeline.Unit, error) {
	all, err := s.client.Collections(ctx)
	if err != nil {
		return nil, err
	}
	units := make([]pipeline.Unit, len(all))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.cfg.Readers)
	for i, l := range all {
		g.Go(func() error {
			n, err := s.client.Count(ctx, l.ID)
			if chromahttp.Missing(err) { // dropped since it was listed
				n, err = 0, nil
			}
			units[i] = pipeline.Unit{Lane: pipeline.Vectors, Name: l.Name, Records: n, Dim: l.Dim(), Bytes: n * int64(overhead+4*l.Dim())}
			return err
		})
	}
	return units, g.Wait()
}

// find gives a collection, nil when there is none. It is looked up once, until
// [Source.forget].
func (s *Source) find(ctx context.Context, name string) (*chromahttp.Collection, error) {
	s.mu.Lock()
	l := s.known[name]
	s.mu.Unlock()
	if l != nil {
		return l, nil
	}
	l, err := s.client.Lookup(ctx, name)
	if err == nil && l != nil {
		s.mu.Lock()
		s.known[name] = l
		s.mu.Unlock()
	}
	return l, err
}

func (s *Source) forget(name string) {
	s.mu.Lock()
	delete(s.known, name)
	s.mu.Unlock()
}

// with calls f with a collection; not at all when there is none. A collection
// that was dropped and made again has another id: it is looked up once more.
func (s *Source) with(ctx context.Context, name string, f func(*chromahttp.Collection) error) error {
	for again := false; ; again = true {
		l, err := s.find(ctx, name)
		if err != nil || l == nil {
			return err
		}
		err = f(l)
		if !chromahttp.Missing(err) {
			return err
		}
		s.forget(name)
		if again {
			return nil
		}
	}
}

// Count counts a collection's records.
func (s *Source) Count(ctx context.Context, u pipeline.Unit) (n int64, err error) {
	err = s.with(ctx, u.Name, func(l *chromahttp.Collection) (err error) {
		n, err = s.client.Count(ctx, l.ID)
		return err
	})
	return n, named(err, u)
}

// errStop ends a listing that the consumer has had enough of.
var errStop = errors.New("stopped")

// Keys lists a collection's ids.
func (s *Source) Keys(ctx context.Context, u pipeline.Unit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		err := s.with(ctx, u.Name, func(l *chromahttp.Collection) error {
			return s.client.IDs(ctx, l.ID, func(id string) error {
				if !yield(id, nil) {
					return errStop
				}
				return nil
			})
		})
		if err != nil && !errors.Is(err, errStop) {
			yield("", named(err, u))
		}
	}
}

// Get fetches records by id.
func (s *Source) Get(ctx context.Context, u pipeline.Unit, keys []string) (map[string]*pipeline.Vector, error) {
	able := make([]string, 0, len(keys))
	seen := make(map[string]bool, len(keys))
	for _, k := range keys { // what the server cannot hold is no id
		if k != "" && utf8.ValidString(k) && !seen[k] {
			seen[k] = true
			able = append(able, k)
		}
	}
	out := make(map[string]*pipeline.Vector, len(able))
	if len(able) == 0 {
		return out, nil
	}
	err := s.with(ctx, u.Name, func(l *chromahttp.Collection) error {
		f := fetcher{Source: s, collection: l}
		return f.fetch(ctx, able, func(v *pipeline.Vector) bool { out[v.ID] = v; return true })
	})
	return out, named(err, u)
}

// Search asks the server as Open WebUI does: the score is (2 - distance) / 2.
// The server has no exact search.
func (s *Source) Search(ctx context.Context, u pipeline.Unit, queries [][]float32, k int, exact bool) ([][]pipeline.Hit, error) {
	if exact {
		return nil, fmt.Errorf("searching Chroma exactly: %w", errors.ErrUnsupported)
	}
	out := make([][]pipeline.Hit, len(queries))
	err := s.with(ctx, u.Name, func(l *chromahttp.Collection) error {
		const page = 64
		for at := 0; at < len(queries); at += page {
			ids, distances, err := s.client.Query(ctx, l.ID, queries[at:min(at+page, len(queries))], k)
			if err != nil {
				return err
			}
			for i := range ids {
				hits := make([]pipeline.Hit, len(ids[i]))
				for j := range hits {
					hits[j] = pipeline.Hit{ID: ids[i][j], Score: (2 - distances[i][j]) / 2}
				}
				out[at+i] = hits
			}
		}
		return nil
	})
	return out, named(err, u)
}

// Check warns of collections that Open WebUI did not make: its scores are those
// of cosine.
func (s *Source) Check(ctx context.Context, _ []pipeline.Unit) ([]pipeline.Finding, error) {
	all, err := s.client.Collections(ctx)
	if err != nil {
		return nil, err
	}
	var out []pipeline.Finding
	for _, l := range all {
		if space := l.Space(); space != chromahttp.Cosine {
			u := pipeline.Unit{Lane: pipeline.Vectors, Name: l.Name}
			out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: Space, Unit: u.ID(),
				Text: fmt.Sprintf("collection %s searches by %q, not by cosine as Open WebUI expects: the target will rank and score differently", l.Name, space),
				Fix:  "nothing needs to be done if another program made it; else compare a few searches after the migration"})
		}
	}
	return out, nil
}

// Identity names the store by tenant and database: a server tells nothing else
// of itself that stays. The state is made of the collections' ids and counts.
func (s *Source) Identity(ctx context.Context) (pipeline.Identity, error) {
	id := pipeline.Identity{Stable: fmt.Sprintf("chroma server %s/%s %s", s.cfg.Store.Tenant, s.cfg.Store.Database, s.client.DatabaseID)}
	all, err := s.client.Collections(ctx)
	if err != nil {
		return id, err
	}
	sum, total := sha256.New(), int64(0)
	for _, l := range all {
		n, err := s.client.Count(ctx, l.ID)
		if chromahttp.Missing(err) {
			continue
		} else if err != nil {
			return id, err
		}
		total += n
		_, _ = fmt.Fprintf(sum, "%s %s %d\n", l.ID, l.Name, n)
	}
	id.State = fmt.Sprintf("%d collections, %d records, %x", len(all), total, sum.Sum(nil)[:8])
	return id, nil
}

// named adds the unit to an error of the server.
func named(err error, u pipeline.Unit) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return &pipeline.Error{Op: "reading", Unit: u.ID(), Err: err}
}
