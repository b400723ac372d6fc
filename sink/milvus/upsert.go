package milvus

import (
	"context"
	"errors"

	layout "outgrow/mappings/milvus"
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

// Drop drops the unit's collection. With multitenancy it shares one with others:
// errors.ErrUnsupported.
func (s *Sink) Drop(ctx context.Context, u pipeline.Unit) error {
	if s.cfg.Store.Multitenancy {
		return errors.ErrUnsupported
	}
	name := layout.Physical(s.cfg.Store, u.Name)
	c, err := s.store.Look(ctx, name)
	if err != nil || c == nil {
		return err
	}
	s.forget(name)
	return s.store.Drop(ctx, name)
}
