// Package qdrant writes the vector lane into Qdrant as Open WebUI's client
// does: one collection each, or five shared ones (multitenancy).
//
// Records are upserted by id and waited for, so a batch may be repeated and is
// durable when Write returns. The vector index is not built while records
// arrive: before the first write to a collection its indexing threshold goes
// into the journal's mark "without:qdrant-index:COLLECTION" and is then set to
// 0; Finish puts it back and waits until the collection is green. The payload
// indexes are there from the start: made at the end they cost the server as
// much, but after the load instead of beside it (measured: a tenth more time
// until everything is there).
package qdrant

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"

	"outgrow/mappings/env"
	"outgrow/mappings/qdrant"
	"outgrow/pipeline"
)

// Config says where and how to write.
type Config struct {
	Store env.QdrantConfig
	Log   *slog.Logger // may be nil
	// Writers is how many requests are under way at the same time, of all
	// batches together; 0 means 4.
	Writers int
	// Journal keeps what is taken away for the load, and the lines of Put.
	// Without one nothing is taken away, and Put is not supported.
	Journal pipeline.Journal
}

// Sink is the writer. It is safe for concurrent use.
type Sink struct {
	cfg   Config
	conn  *qdrant.Conn
	slots chan struct{}

	mu      sync.Mutex
	targets map[string]*target // by Qdrant's name
}

// target is a collection of Qdrant.
type target struct {
	name string

	mu       sync.Mutex
	dim      int    // 0 until it is known to be there
	points   int    // points a request, at most; 0 for any
	kilobyte uint64 // the indexing threshold as it was found, 0 for none
	deferred bool   // the first write has dealt with the threshold
}

var (
	_ pipeline.Sink[*pipeline.Vector]   = (*Sink)(nil)
	_ pipeline.Putter[*pipeline.Vector] = (*Sink)(nil)
	_ pipeline.Finisher                 = (*Sink)(nil)
	_ pipeline.Checker                  = (*Sink)(nil)
	_ pipeline.Emptier                  = (*Sink)(nil)
	_ pipeline.Deleter                  = (*Sink)(nil)
)

// Open connects and changes nothing.
func Open(ctx context.Context, cfg Config) (*Sink, error) {
	if cfg.Writers <= 0 {
		cfg.Writers = 4
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	conn, err := qdrant.Dial(ctx, cfg.Store)
	if err != nil {
		return nil, err
	}
	return &Sink{cfg: cfg, conn: conn, slots: make(chan struct{}, cfg.Writers), targets: map[string]*target{}}, nil
}

// Close ends the connection. A second call is harmless.
func (s *Sink) Close() error { return s.conn.Close() }

// Fingerprint identifies the target: layout and prefix.
func (s *Sink) Fingerprint(context.Context) (string, error) {
	return qdrant.Fingerprint(s.cfg.Store), nil
}

func (s *Sink) target(unit string) *target {
	name := qdrant.Collection(s.cfg.Store, unit)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.targets[name]
	if t == nil {
		t = &target{name: name}
		s.targets[name] = t
	}
	return t
}

// tenant is what the payload of a unit's records says.
func (s *Sink) tenant(unit string) string {
	if s.cfg.Store.Multitenancy {
		return unit
	}
	return ""
}

// Prepare makes the unit's collection and its payload indexes where they are
// missing. A unit whose dimension is unknown gets them with its first record.
func (s *Sink) Prepare(ctx context.Context, u pipeline.Unit) error {
	if u.Dim == 0 {
		return nil
	}
	return s.ready(ctx, s.target(u.Name), u, u.Dim)
}

// ready makes sure that the collection is there and holds vectors of dim.
func (s *Sink) ready(ctx context.Context, t *target, u pipeline.Unit, dim int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dim == 0 {
		info, err := s.make(ctx, t.name, u, dim)
		if err != nil {
			return err
		}
		t.kilobyte = info.GetConfig().GetOptimizerConfig().GetIndexingThreshold()
		if strict := info.GetConfig().GetStrictModeConfig(); strict.GetEnabled() {
			t.points = int(strict.GetUpsertMaxBatchsize())
		}
		t.dim = int(qdrant.VectorOf(info).GetSize())
	}
	if t.dim != dim {
		return pipeline.Usage("preparing "+u.ID(), fmt.Errorf("%d dimensions, collection %s has %d", dim, t.name, t.dim), dimensionFix(s.cfg.Store))
	}
	return nil
}

func (s *Sink) make(ctx context.Context, name string, u pipeline.Unit, dim int) (*pb.CollectionInfo, error) {
	if why := qdrant.BadName(name); why != "" {
		return nil, pipeline.Usage("preparing "+u.ID(), errors.New(why), "rename the collection in the source, or shorten QDRANT_COLLECTION_PREFIX")
	}
	info, err := s.conn.Look(ctx, name)
	if err != nil {
		return nil, err
	}
	if info == nil {
		if _, err := s.conn.Collections.Create(ctx, qdrant.Create(s.cfg.Store, name, dim)); err != nil && qdrant.Code(err) != codes.AlreadyExists {
			return nil, qdrant.Classify("creating collection "+name, err)
		}
		if info, err = s.conn.Look(ctx, name); err != nil {
			return nil, err
		}
		if info == nil {
			return nil, qdrant.Classify("creating collection "+name, errVanished)
		}
	}
	if finding := s.fit(qdrant.Found{Physical: name, Name: strings.TrimPrefix(name, s.cfg.Store.Prefix+"_"), Info: info}, true); finding != nil {
		return nil, pipeline.Usage("preparing "+u.ID(), errors.New(finding.Text), finding.Fix)
	}
	for _, index := range qdrant.Indexes(s.cfg.Store, name) {
		if _, ok := info.GetPayloadSchema()[index.GetFieldName()]; ok {
			continue
		}
		if _, err := s.conn.Points.CreateFieldIndex(ctx, index); err != nil {
			return nil, qdrant.Classify("indexing "+index.GetFieldName()+" of "+name, err)
		}
	}
	return info, nil
}

var errVanished = errors.New("it is not there after it was created")

// Delete removes records by id; in multitenancy those of the unit only.
func (s *Sink) Delete(ctx context.Context, u pipeline.Unit, keys []string) error {
	var ids []*pb.PointId
	for _, k := range keys {
		if p, ok := qdrant.ParsePoint(k); ok {
			ids = append(ids, p.PB())
		}
	}
	if len(ids) == 0 {
		return ctx.Err()
	}
	selector := pb.NewPointsSelectorIDs(ids)
	if s.cfg.Store.Multitenancy {
		selector = pb.NewPointsSelectorFilter(qdrant.OfTenant(u.Name, pb.NewHasID(ids...)))
	}
	_, err := s.conn.Points.Delete(ctx, &pb.DeletePoints{CollectionName: qdrant.Collection(s.cfg.Store, u.Name), Wait: new(true), Points: selector})
	if qdrant.Code(err) == codes.NotFound {
		return nil
	}
	return qdrant.Classify("deleting from "+u.ID(), err)
}
