// Package pinecone writes the vector lane into the Pinecone index that Open
// WebUI's client reads (VECTOR_DB=pinecone): a serverless index, made as Open
// WebUI makes it where it is missing, and records as its client upserts them.
//
// An upsert is durable when Pinecone acknowledges it (it is in the index's log
// then), but reads show it some seconds later. Write returns after the
// acknowledgement; Finish waits, for at most Config.FreshWait, until the index
// counts as many records as were written, so that verify, which reads through
// source/pinecone, finds them; that reader itself waits until what is listed is
// what is counted. A verify that still comes too early reports missing records;
// run again later it does not.
package pinecone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	sdk "github.com/pinecone-io/go-pinecone/v5/pinecone"

	"outgrow/mappings/env"
	layout "outgrow/mappings/pinecone"
	"outgrow/pipeline"
)

// Config says where and how to write.
type Config struct {
	Store env.PineconeConfig
	Log   *slog.Logger // may be nil
	// Writers is how many upserts of one batch are under way at the same time;
	// 0 means 4, as many as a small plan bears.
	Writers int
	// UpsertRecords is the most records of an upsert, up to 1000; 0 means 100,
	// what Pinecone and Open WebUI recommend. It has 2 MB at most in any case.
	UpsertRecords int
	// Journal is the run's own; Put keeps its lines there and Finish takes from
	// it how much was written. nil: Put is not supported, Finish knows only
	// what this process wrote.
	Journal pipeline.Journal
	// FreshWait bounds Finish's wait; 0 means 2 minutes, less than 0 none.
	FreshWait time.Duration
	// Backoff is for single upserts that are refused for a while; the zero
	// value means four attempts. The engine repeats a batch beyond that.
	Backoff pipeline.Backoff
}

// Sink is the writer. It is safe for concurrent use.
type Sink struct {
	cfg    Config
	client *layout.Client

	mu      sync.Mutex
	index   *layout.Index        // nil until it is there
	conn    *sdk.IndexConnection // nil until then
	written int64
}

var (
	_ pipeline.Sink[*pipeline.Vector]     = (*Sink)(nil)
	_ pipeline.Checker                    = (*Sink)(nil)
	_ pipeline.Emptier                    = (*Sink)(nil)
	_ pipeline.Deleter                    = (*Sink)(nil)
	_ pipeline.Upserter[*pipeline.Vector] = (*Sink)(nil)
	_ pipeline.Putter[*pipeline.Vector]   = (*Sink)(nil)
	_ pipeline.Finisher                   = (*Sink)(nil)
)

// Open looks for the index and changes nothing.
func Open(ctx context.Context, cfg Config) (*Sink, error) {
	if cfg.Writers <= 0 {
		cfg.Writers = 4
	}
	if cfg.UpsertRecords <= 0 {
		cfg.UpsertRecords = 100
	}
	cfg.UpsertRecords = min(cfg.UpsertRecords, layout.MaxUpsert)
	if cfg.FreshWait == 0 {
		cfg.FreshWait = 2 * time.Minute
	}
	if cfg.Backoff.Attempts == 0 {
		cfg.Backoff.Attempts = 4
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	client, err := layout.Dial(cfg.Store)
	if err != nil {
		return nil, err
	}
	s := &Sink{cfg: cfg, client: client}
	var ix *layout.Index
	if err := cfg.Backoff.Do(ctx, func(int) (err error) { ix, err = client.Find(ctx); return err }); err != nil {
		return nil, err
	}
	if ix == nil {
		return s, nil
	}
	return s, s.connect(ix)
}

func (s *Sink) connect(ix *layout.Index) error {
	conn, err := s.client.Connect(ix)
	if err == nil {
		s.index, s.conn = ix, conn
	}
	return err
}

// Close ends the connection. A second call is harmless.
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}

// Fingerprint names the index by cloud, region and name. Before it is made there
// is nothing more that could be told of it.
func (s *Sink) Fingerprint(context.Context) (string, error) {
	c := s.cfg.Store
	return fmt.Sprintf("pinecone %s %s %s", c.Cloud, c.Environment, c.Index), nil
}

// Prepare makes the index where it is missing, and refuses one that is not as
// the variables say.
func (s *Sink) Prepare(ctx context.Context, u pipeline.Unit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index == nil {
		s.cfg.Log.Info("making the index", "index", s.cfg.Store.Index)
		ix, err := s.client.Create(ctx)
		if err != nil {
			return err
		}
		if err := s.connect(ix); err != nil {
			return err
		}
	}
	for _, f := range s.indexFindings(s.index) {
		if f.Severity == pipeline.Refuse {
			return pipeline.Usage("preparing "+u.ID(), errors.New(f.Text), f.Fix)
		}
	}
	return nil
}

var errNoIndex = errors.New("the index is not there")

// connection gives the data plane.
func (s *Sink) connection() (*sdk.IndexConnection, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil, errNoIndex
	}
	return s.conn, nil
}
