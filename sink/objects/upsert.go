package objects

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	store "outgrow/mappings/objects"
	"outgrow/pipeline"
)

var (
	_ pipeline.Upserter[*pipeline.Object] = (*Sink)(nil)
	_ pipeline.Deleter                    = (*Sink)(nil)
)

// Upsert is Write outside any part; with how.Replace objects that differ are
// overwritten, else the record is refused (duplicate).
func (s *Sink) Upsert(ctx context.Context, unit pipeline.Unit, records []*pipeline.Object, how pipeline.Upsert) (pipeline.Outcome, error) {
	return s.write(ctx, unit, records, s.cfg.Replace || how.Replace)
}

// Delete removes objects; those that are not there are no error.
func (s *Sink) Delete(ctx context.Context, unit pipeline.Unit, keys []string) error {
	if err := supported(unit); err != nil {
		return err
	}
	d, ok := s.cfg.Uploader.(store.Deleter)
	if !ok {
		return fmt.Errorf("removing objects from %s: %w", s.cfg.Describe, errors.ErrUnsupported)
	}
	w := &writer{Sink: s, unit: unit}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.cfg.Requests)
	for _, name := range keys {
		key, reason, _ := w.key(&pipeline.Object{Name: name})
		if reason != "" {
			continue // there can be no such object
		}
		g.Go(func() error { return s.retry(gctx, func() error { return d.Delete(gctx, key) }) })
	}
	return g.Wait()
}
