package pinecone

import (
	"context"
	"errors"
	"fmt"
	"time"

	sdk "github.com/pinecone-io/go-pinecone/v5/pinecone"

	layout "outgrow/mappings/pinecone"
	"outgrow/pipeline"
)

// Empty deletes Open WebUI's records, of whatever collection, and leaves those
// of other applications and other namespaces. It returns when the index lists
// none any more.
func (s *Sink) Empty(ctx context.Context) error {
	conn, err := s.connection()
	if errors.Is(err, errNoIndex) {
		return nil
	}
	for end := time.Now().Add(max(s.cfg.FreshWait, 0)); ; {
		n := 0
		_, err := s.scan(ctx, conn, func(ids []string) (bool, error) {
			n += len(ids)
			return true, s.remove(ctx, conn, ids)
		})
		if err != nil || n == 0 {
			return err
		}
		s.cfg.Log.Info("deleted records", "index", s.cfg.Store.Index, "records", n)
		if time.Now().After(end) {
			return pipeline.Environment("emptying the index", fmt.Errorf("it still lists %d records that were deleted", n), "Pinecone needs some time: run the same command again")
		}
		if err := pipeline.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// Delete removes records of the unit. Ids are global, so each is looked up
// first: a record that another collection holds by now stays.
func (s *Sink) Delete(ctx context.Context, unit pipeline.Unit, keys []string) error {
	conn, err := s.connection()
	if errors.Is(err, errNoIndex) {
		return nil
	}
	able := make([]string, 0, len(keys))
	for _, k := range keys {
		if layout.Possible(k) {
			able = append(able, k)
		}
	}
	of, err := s.collections(ctx, conn, able)
	if err != nil {
		return err
	}
	mine := make([]string, 0, len(of))
	for id, name := range of {
		if name == layout.Collection(unit.Name) {
			mine = append(mine, id)
		}
	}
	return s.remove(ctx, conn, mine)
}

func (s *Sink) remove(ctx context.Context, conn *sdk.IndexConnection, ids []string) error {
	for len(ids) > 0 {
		n := min(len(ids), layout.MaxFetch)
		err := s.cfg.Backoff.Do(ctx, func(int) error {
			err := conn.DeleteVectorsById(ctx, ids[:n])
			if layout.IsNotFound(err) { // a namespace without records is none
				return nil
			}
			return layout.Classify(ctx, "deleting records", err)
		})
		if err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// Put writes repaired records, never over another collection's. Lines and
// release follow the acknowledged write; a repeat does no harm.
func (s *Sink) Put(ctx context.Context, unit pipeline.Unit, records []*pipeline.Vector) (pipeline.Outcome, error) {
	if s.cfg.Journal == nil {
		return pipeline.Outcome{}, errors.ErrUnsupported
	}
	w, out, err := s.upsert(ctx, unit, records)
	if err != nil {
		return out, err
	}
	return pipeline.Settle(ctx, s.cfg.Journal, unit, w.done, out)
}

// Upsert writes records over those of the same id, never over another
// collection's.
func (s *Sink) Upsert(ctx context.Context, unit pipeline.Unit, records []*pipeline.Vector, _ pipeline.Upsert) (pipeline.Outcome, error) {
	_, out, err := s.upsert(ctx, unit, records)
	return out, err
}

func (s *Sink) upsert(ctx context.Context, unit pipeline.Unit, records []*pipeline.Vector) (*writer, pipeline.Outcome, error) {
	w, err := s.writer(unit)
	if err != nil {
		return nil, pipeline.Outcome{}, fmt.Errorf("putting records into %s: %w", unit.ID(), err)
	}
	var able []string
	for _, v := range records {
		if layout.Possible(v.ID) {
			able = append(able, v.ID)
		}
	}
	of, err := s.collections(ctx, w.conn, able)
	if err != nil {
		return nil, pipeline.Outcome{}, err
	}
	free := make([]*pipeline.Vector, 0, len(records))
	for _, v := range records {
		if name, there := of[v.ID]; there && name != layout.Collection(unit.Name) {
			w.refuse(v, "id", pipeline.Duplicate, "another collection holds the id")
			continue
		}
		free = append(free, v)
	}
	out, err := w.write(ctx, free)
	return w, out, err
}

// Finish waits until the index counts what was written. Nothing is to be built:
// Pinecone keeps its own index. When the time is over it says so in the log and
// leaves the rest to verify.
func (s *Sink) Finish(ctx context.Context, step func(string)) (pipeline.Outcome, error) {
	conn, err := s.connection()
	if errors.Is(err, errNoIndex) {
		return pipeline.Outcome{}, nil
	}
	want, err := s.expected(ctx)
	if err != nil {
		return pipeline.Outcome{}, err
	}
	end := time.Now().Add(max(s.cfg.FreshWait, 0))
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		have, _, err := layout.Count(ctx, conn)
		switch {
		case err != nil:
			return pipeline.Outcome{}, err
		case have >= want:
			return pipeline.Outcome{}, nil
		case time.Now().Add(pause).After(end):
			s.cfg.Log.Warn("Pinecone does not count yet what it acknowledged", "written", want, "counted", have)
			return pipeline.Outcome{}, nil
		}
		step(fmt.Sprintf("waiting until Pinecone shows what was written: %d of %d", have, want))
		if err := pipeline.Sleep(ctx, pause); err != nil {
			return pipeline.Outcome{}, err
		}
	}
}

// expected is how many records this run has put into the index.
func (s *Sink) expected(ctx context.Context) (n int64, err error) {
	if s.cfg.Journal == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.written, nil
	}
	marks, err := s.cfg.Journal.Marked(ctx)
	if err != nil || marks["synced"] != "" { // the parts' counts tell no more
		return 0, err
	}
	parts, err := s.cfg.Journal.All(ctx)
	for _, p := range parts {
		n += p.Written
	}
	return n, err
}
