package chromahttp

import (
	"context"

	"outgrow/pipeline"
)

var (
	_ pipeline.Upserter[*pipeline.Vector] = (*Sink)(nil)
	_ pipeline.Dropper                    = (*Sink)(nil)
)

// Upsert writes records over those of the same id.
func (s *Sink) Upsert(ctx context.Context, u pipeline.Unit, records []*pipeline.Vector, _ pipeline.Upsert) (pipeline.Outcome, error) {
	return s.write(ctx, u, records)
}

// Drop deletes the unit's collection.
func (s *Sink) Drop(ctx context.Context, u pipeline.Unit) error {
	l, err := s.collection(ctx, u.Name, true)
	if err != nil || l == nil {
		return named("deleting", u, err)
	}
	s.mu.Lock()
	delete(s.known, u.Name)
	s.mu.Unlock()
	return named("deleting", u, s.client.Drop(ctx, u.Name))
}
