package pinecone

import (
	"context"
	"errors"
	"time"

	sdk "github.com/pinecone-io/go-pinecone/v5/pinecone"
	"golang.org/x/sync/errgroup"

	layout "outgrow/mappings/pinecone"
	"outgrow/pipeline"
)

var errClosed = errors.New("the reader is closed")

// settled is an error that has had its retries: the engine does not begin them
// anew.
type settled struct{ err error }

func (s *settled) Error() string { return s.err.Error() }
func (s *settled) Unwrap() error { return s.err }
func (*settled) Retryable() bool { return false }

// retry repeats a request of the filling, which the engine does not repeat.
func (s *Source) retry(ctx context.Context, f func() error) error {
	err := s.cfg.Backoff.Do(ctx, func(int) error { return f() })
	if pipeline.IsRetryable(err) {
		return &settled{err}
	}
	return err
}

// filled gives the spool with every record of the index in it. What an earlier
// call that failed has fetched is not fetched again.
func (s *Source) filled(ctx context.Context) (*records, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case s.closed:
		return nil, errClosed
	case s.full:
		return s.spool, nil
	}
	if s.spool == nil {
		var err error
		if s.spool, err = openSpool(s.cfg.TempDir); err != nil {
			return nil, err
		}
	}
	if err := s.fill(ctx); err != nil {
		return nil, err
	}
	units, strange, err := s.spool.units()
	if err != nil {
		return nil, local("listing the collections", err)
	}
	s.units, s.facts.foreign, s.full = units, strange, true
	return s.spool, nil
}

// fill lists and fetches until what is listed is as much as is counted.
func (s *Source) fill(ctx context.Context) error {
	start := time.Now()
	for pause := time.Second; ; pause = min(2*pause, 10*time.Second) {
		listed, err := s.pass(ctx)
		if err != nil {
			return err
		}
		var counted int64
		err = s.retry(ctx, func() (err error) {
			counted, s.facts.elsewhere, err = layout.Count(ctx, s.conn)
			return err
		})
		if err != nil {
			return err
		}
		s.facts.missing = max(counted-listed, 0)
		if s.facts.missing == 0 || time.Since(start)+pause > s.cfg.FreshWait {
			return nil
		}
		s.cfg.Log.Info("waiting for Pinecone to list what it counts", "listed", listed, "counted", counted)
		if err := pipeline.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// pass lists all ids and fetches those that are not in the spool. It gives how
// many ids there are.
func (s *Source) pass(ctx context.Context) (listed int64, err error) {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.cfg.Readers + 1)
	limit, token := uint32(layout.MaxPage), (*string)(nil)
	for gctx.Err() == nil {
		var page *sdk.ListVectorsResponse
		err = s.retry(gctx, func() (err error) {
			page, err = s.conn.ListVectors(gctx, &sdk.ListVectorsRequest{Limit: &limit, PaginationToken: token})
			return layout.Classify(gctx, "listing the index", err)
		})
		if err != nil {
			break
		}
		ids := make([]string, len(page.VectorIds))
		for i, id := range page.VectorIds {
			ids[i] = *id
		}
		listed += int64(len(ids))
		g.Go(func() error { return s.keep(gctx, ids) })
		if token = page.NextPaginationToken; token == nil || *token == "" {
			break
		}
	}
	// What made the others stop comes first.
	if werr := g.Wait(); werr != nil {
		err = werr
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return listed, err
}

// keep fetches the ids that are new into the spool.
func (s *Source) keep(ctx context.Context, ids []string) error {
	ids, err := s.spool.unknown(ids)
	if err != nil {
		return local("looking ids up", err)
	}
	var found map[string]*sdk.Vector
	if err := s.retry(ctx, func() (err error) { found, err = s.fetch(ctx, ids); return err }); err != nil {
		return err
	}
	items := make([]item, 0, len(found))
	for id, v := range found {
		it := item{id: id}
		record, collection := layout.Decode(v)
		if name, ok := layout.Logical(collection); ok {
			it.collection, it.vector = name, record
		}
		items = append(items, it)
	}
	return local("keeping records", s.spool.add(items))
}

// fetch asks the index for records; those that are not there are absent.
func (s *Source) fetch(ctx context.Context, ids []string) (map[string]*sdk.Vector, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	res, err := s.conn.FetchVectors(ctx, ids)
	if err != nil {
		return nil, layout.Classify(ctx, "fetching records", err)
	}
	return res.Vectors, nil
}

// fetchPage is how many records Get holds at once in an answer: as many as a
// page of the listing.
const fetchPage = layout.MaxPage

// Get fetches records from the index itself, not from the private copy: what was
// written a moment ago may be missing for some seconds. It does not repeat a
// request that failed.
func (s *Source) Get(ctx context.Context, u pipeline.Unit, keys []string) (map[string]*pipeline.Vector, error) {
	out := make(map[string]*pipeline.Vector, len(keys))
	var able []string
	seen := make(map[string]bool, len(keys))
	for _, k := range keys {
		if !seen[k] && layout.Possible(k) {
			able = append(able, k)
		}
		seen[k] = true
	}
	for len(able) > 0 {
		n := min(len(able), fetchPage)
		found, err := s.fetch(ctx, able[:n])
		if err != nil {
			return nil, err
		}
		for id, v := range found {
			record, collection := layout.Decode(v)
			if name, ok := layout.Logical(collection); ok && name == u.Name {
				out[id] = record
			}
		}
		able = able[n:]
	}
	return out, nil
}
