// Package chromahttp writes the vector lane into a Chroma server, as Open WebUI
// writes it there (VECTOR_DB=chroma with CHROMA_HTTP_HOST). A batch is one or
// more upserts; the server answers once its own log has them. Nothing is left
// to be finished: the server indexes as it goes.
package chromahttp

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"outgrow/mappings/chromahttp"
	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// Config says where and how to write.
type Config struct {
	Store   env.ChromaConfig
	Log     *slog.Logger // may be nil
	Writers int          // batches written at the same time; 0 means 2
	// Journal is the command's own: Put ledgers and releases there. Prepare
	// asks it whether a collection should be there already. It may be nil.
	Journal pipeline.Journal
}

// Sink is the writer. It is safe for concurrent use.
type Sink struct {
	cfg    Config
	client *chromahttp.Client
	change pipeline.Transform[*pipeline.Vector]

	mu    sync.Mutex
	known map[string]*chromahttp.Collection
	units []string // of the last Check
}

var (
	_ pipeline.Sink[*pipeline.Vector]   = (*Sink)(nil)
	_ pipeline.Checker                  = (*Sink)(nil)
	_ pipeline.Emptier                  = (*Sink)(nil)
	_ pipeline.Deleter                  = (*Sink)(nil)
	_ pipeline.Putter[*pipeline.Vector] = (*Sink)(nil)
)

// Open connects and changes nothing.
func Open(ctx context.Context, cfg Config) (*Sink, error) {
	if cfg.Writers <= 0 {
		cfg.Writers = 2
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	client, err := chromahttp.Dial(ctx, cfg.Store, cfg.Writers+1)
	if err != nil {
		return nil, err
	}
	return &Sink{cfg: cfg, client: client, change: chromahttp.Transform(cfg.Store), known: map[string]*chromahttp.Collection{}}, nil
}

// Close gives the connections back.
func (s *Sink) Close() error { s.client.Close(); return nil }

// Fingerprint identifies the target by tenant and database. A Chroma server
// tells nothing of itself that would tell it from another one, and it cannot be
// marked without being no longer as Open WebUI would have left it: two servers
// with the same tenant and database have the same fingerprint. Prepare notices
// one that has lost what the journal knows.
func (s *Sink) Fingerprint(context.Context) (string, error) {
	sum := sha256.Sum256([]byte(s.cfg.Store.Tenant + "\x00" + s.cfg.Store.Database + "\x00" + s.client.DatabaseID))
	return fmt.Sprintf("chroma:%x", sum[:12]), nil
}

// Prepare creates the collection as Open WebUI does. A collection that is there
// is taken if it searches by cosine and its dimension is the unit's. For a
// name that the server refuses nothing is created: its records are refused.
func (s *Sink) Prepare(ctx context.Context, u pipeline.Unit) error {
	const op = "preparing a collection"
	if chromahttp.NameProblem(u.Name) != "" {
		return nil
	}
	l, err := s.client.Lookup(ctx, u.Name)
	if err != nil {
		return named(op, u, err)
	}
	if l == nil {
		if err := s.lost(ctx, u); err != nil {
			return err
		}
		if l, err = s.client.Create(ctx, u.Name); err != nil {
			return named(op, u, err)
		}
	}
	if problem, fix := conflict(l, u); problem != "" {
		return &pipeline.Error{Op: op, Unit: u.ID(), Err: errors.New(problem), Hint: fix, Exit: pipeline.ExitUsage}
	}
	s.mu.Lock()
	s.known[u.Name] = l
	s.mu.Unlock()
	return nil
}

// lost compares a collection that is missing with the journal.
func (s *Sink) lost(ctx context.Context, u pipeline.Unit) error {
	if s.cfg.Journal == nil {
		return nil
	}
	parts, err := s.cfg.Journal.Parts(ctx, u)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if p.Written > 0 {
			return &pipeline.Error{Op: "preparing a collection", Unit: u.ID(), Exit: pipeline.ExitUsage,
				Err:  errors.New("the collection is gone, though records were written to it"),
				Hint: "name the server that the run was begun with, or start over with --replace"}
		}
	}
	return nil
}

func conflict(l *chromahttp.Collection, u pipeline.Unit) (problem, fix string) {
	switch {
	case l.Space() != chromahttp.Cosine:
		return fmt.Sprintf("the collection is there and searches by %q, not by cosine", l.Space()), "delete it, or use another CHROMA_DATABASE"
	case l.Dim() != 0 && u.Dim != 0 && l.Dim() != u.Dim:
		return fmt.Sprintf("the collection is there with %d dimensions, the source has %d", l.Dim(), u.Dim), "delete it, or use another CHROMA_DATABASE"
	}
	return "", ""
}

// collection gives the one to write to.
func (s *Sink) collection(ctx context.Context, name string, fresh bool) (*chromahttp.Collection, error) {
	s.mu.Lock()
	l := s.known[name]
	s.mu.Unlock()
	if l != nil && !fresh {
		return l, nil
	}
	l, err := s.client.Lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l == nil {
		delete(s.known, name)
		return nil, nil
	}
	s.known[name] = l
	return l, nil
}

// Delete removes records by id.
func (s *Sink) Delete(ctx context.Context, u pipeline.Unit, keys []string) error {
	keys = slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k == "" })
	l, err := s.collection(ctx, u.Name, true)
	if err != nil || l == nil || len(keys) == 0 {
		return named("deleting from", u, err)
	}
	return named("deleting from", u, s.client.Delete(ctx, l.ID, keys))
}

// Put writes repaired records over whatever has their ids, then ledgers them and
// releases them from the quarantine.
func (s *Sink) Put(ctx context.Context, u pipeline.Unit, records []*pipeline.Vector) (pipeline.Outcome, error) {
	if err := s.Prepare(ctx, u); err != nil {
		return pipeline.Outcome{}, err
	}
	out, err := s.write(ctx, u, records)
	if err != nil || s.cfg.Journal == nil {
		return out, err
	}
	return pipeline.Settle(ctx, s.cfg.Journal, u, pipeline.Accepted(records, out), out)
}

// named adds the unit to an error of the server.
func named(op string, u pipeline.Unit, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return &pipeline.Error{Op: op, Unit: u.ID(), Err: err}
}
