package qdrant

import (
	"context"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"

	"outgrow/mappings/qdrant"
	"outgrow/pipeline"
)

var (
	_ pipeline.Upserter[*pipeline.Vector] = (*Sink)(nil)
	_ pipeline.Dropper                    = (*Sink)(nil)
)

// Upsert writes points over those of the same id, never over another tenant's.
func (s *Sink) Upsert(ctx context.Context, u pipeline.Unit, records []*pipeline.Vector, _ pipeline.Upsert) (pipeline.Outcome, error) {
	free, taken, err := s.elsewhere(ctx, u, records)
	if err != nil {
		return pipeline.Outcome{}, err
	}
	out, err := s.upsert(ctx, u, free, false)
	if err != nil {
		return pipeline.Outcome{}, err
	}
	out.Refused = append(out.Refused, taken...)
	return out, nil
}

// Drop deletes the unit's collection, with multitenancy its points.
func (s *Sink) Drop(ctx context.Context, u pipeline.Unit) error {
	name := qdrant.Collection(s.cfg.Store, u.Name)
	var err error
	if s.cfg.Store.Multitenancy {
		_, err = s.conn.Points.Delete(ctx, &pb.DeletePoints{CollectionName: name, Wait: new(true), Points: pb.NewPointsSelectorFilter(qdrant.OfTenant(u.Name))})
	} else {
		_, err = s.conn.Collections.Delete(ctx, &pb.DeleteCollection{CollectionName: name})
		s.mu.Lock()
		delete(s.targets, u.Name)
		s.mu.Unlock()
	}
	if qdrant.Code(err) == codes.NotFound {
		return nil
	}
	return qdrant.Classify("deleting "+u.ID(), err)
}
