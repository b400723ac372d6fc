// Package milvus writes the vector lane into the collections that Open WebUI's
// two Milvus clients read (VECTOR_DB=milvus). Collections are made, indexed and
// loaded as those clients do it, when the dimension of their vectors is known;
// records are written by upsert, so a repeat changes nothing.
//
// Milvus acknowledges a write when it stands in its log: no flush is asked for,
// as Open WebUI asks for none. What was acknowledged is seen by every request of
// consistency Strong.
package milvus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"outgrow/mappings/env"
	layout "outgrow/mappings/milvus"
	"outgrow/pipeline"
)

// Config says where and how to write.
type Config struct {
	Store   env.MilvusConfig
	Log     *slog.Logger // may be nil
	Writers int          // requests at the same time; 0 means 4
	// Journal is the lane's own, for Put.
	Journal pipeline.Journal
}

// Sink is the writer. It is safe for concurrent use.
type Sink struct {
	cfg   Config
	store *layout.Store
	slots chan struct{}

	mu     sync.Mutex
	places map[string]*place
	closed bool
}

// place is where a collection is, or is to be. Its lock is held while it is
// made, so that it is made once.
type place struct {
	mu sync.Mutex
	c  *layout.Collection // nil until it was looked at
}

func (s *Sink) place(name string) *place {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.places[name]
	if p == nil {
		p = &place{}
		s.places[name] = p
	}
	return p
}

var (
	_ pipeline.Sink[*pipeline.Vector]   = (*Sink)(nil)
	_ pipeline.Putter[*pipeline.Vector] = (*Sink)(nil)
	_ pipeline.Checker                  = (*Sink)(nil)
	_ pipeline.Deleter                  = (*Sink)(nil)
	_ pipeline.Emptier                  = (*Sink)(nil)
	_ pipeline.Finisher                 = (*Sink)(nil)
)

// Open connects and changes nothing.
func Open(ctx context.Context, cfg Config) (*Sink, error) {
	if cfg.Writers <= 0 {
		cfg.Writers = 4
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	store, err := layout.Dial(ctx, cfg.Store)
	if err != nil {
		return nil, err
	}
	return &Sink{cfg: cfg, store: store, slots: make(chan struct{}, cfg.Writers), places: map[string]*place{}}, nil
}

// Layout is the server's, for [layout.Options].
func (s *Sink) Layout() layout.Layout { return s.store.Layout }

// Close ends the connection.
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.store.Close()
}

// Prepare makes the unit's collection where the dimension is known: otherwise,
// and for a logical collection without records, the first batch does.
func (s *Sink) Prepare(ctx context.Context, u pipeline.Unit) error {
	if why := layout.BadName(s.cfg.Store, u.Name); why != "" {
		return pipeline.Usage("preparing "+u.ID(), fmt.Errorf("a collection of that name cannot be: %s", why), nameFix)
	}
	if u.Dim <= 0 || s.cfg.Store.Multitenancy && u.Records == 0 {
		return nil
	}
	_, err := s.make(ctx, u, u.Dim)
	return err
}

// make gives the unit's collection, which it makes where it is missing.
func (s *Sink) make(ctx context.Context, u pipeline.Unit, dim int) (*layout.Collection, error) {
	name := layout.Physical(s.cfg.Store, u.Name)
	p := s.place(name)
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.c
	if c == nil {
		if err := s.store.Create(ctx, name, dim); err != nil {
			return nil, err
		}
		var err error
		if c, err = s.store.Look(ctx, name); err != nil {
			return nil, err
		}
		if c == nil {
			return nil, pipeline.Transient(fmt.Errorf("preparing %s: collection %s is gone", u.ID(), name))
		}
		if f := s.layoutFinding(c); f != nil {
			return nil, pipeline.Usage("preparing "+u.ID(), errors.New(f.Text), f.Fix)
		}
	}
	if c.Dim != dim && dim == u.Dim {
		return nil, pipeline.Usage("preparing "+u.ID(), fmt.Errorf("its vectors have %d dimensions, collection %s has %d", dim, name, c.Dim), dimensionFix)
	}
	p.c = c
	return c, nil
}

// forget makes the sink look at a collection again.
func (s *Sink) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.places, name)
}

// Finish makes sure that every collection of this run has its indexes and, with
// the plain layout, is loaded.
func (s *Sink) Finish(ctx context.Context, step func(string)) (pipeline.Outcome, error) {
	s.mu.Lock()
	names := slices.Sorted(maps.Keys(s.places))
	s.mu.Unlock()
	for i, name := range names {
		step(fmt.Sprintf("indexes of collection %d of %d", i+1, len(names)))
		c, err := s.store.Look(ctx, name)
		if err != nil {
			return pipeline.Outcome{}, err
		}
		if c == nil {
			return pipeline.Outcome{}, pipeline.Transient(fmt.Errorf("finishing: collection %s is gone", name))
		}
		if err := s.store.Index(ctx, c); err != nil {
			return pipeline.Outcome{}, err
		}
	}
	if s.cfg.Store.Multitenancy {
		return pipeline.Outcome{}, nil
	}
	step("waiting until the collections are loaded")
	return pipeline.Outcome{}, s.store.Load(ctx, names...)
}

// Delete removes records of a collection by id.
func (s *Sink) Delete(ctx context.Context, u pipeline.Unit, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	name := layout.Physical(s.cfg.Store, u.Name)
	c, err := s.store.Look(ctx, name)
	if err != nil || c == nil {
		return err
	}
	if err := s.store.Load(ctx, name); err != nil {
		return err
	}
	return s.store.Delete(ctx, name, layout.Filter(s.cfg.Store, u.Name), keys)
}

// Empty drops the deployment's own collections, and what Open WebUI has left of
// rewriting them: it would take that for a collection at its next start.
func (s *Sink) Empty(ctx context.Context) error {
	own, staging, err := s.store.Own(ctx)
	if err != nil {
		return err
	}
	for _, c := range own {
		if s.layoutFinding(c) == nil {
			s.cfg.Log.Info("dropping a collection", "collection", c.Name)
			if err := s.store.Drop(ctx, c.Name); err != nil {
				return err
			}
			s.forget(c.Name)
		}
	}
	for _, name := range staging {
		s.cfg.Log.Info("dropping a collection", "collection", name)
		if err := s.store.Drop(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Fingerprint names the target: database, layout, prefix, and what the server
// tells of the database's making; where it tells nothing (Milvus Lite), a digest
// of the address stands for that.
func (s *Sink) Fingerprint(ctx context.Context) (string, error) {
	made, err := s.store.Made(ctx)
	if err != nil {
		return "", err
	}
	id := fmt.Sprint(made)
	if made == 0 {
		id = "@" + pipeline.Digest(s.cfg.Store.Address)[:16]
	}
	return "milvus:" + id + "/" + layout.Place(s.cfg.Store), nil
}
