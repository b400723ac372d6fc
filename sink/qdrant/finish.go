package qdrant

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"

	"outgrow/mappings/qdrant"
	"outgrow/pipeline"
)

// Finish puts the indexing thresholds back, all before it waits for any, and
// waits until the collections are green.
func (s *Sink) Finish(ctx context.Context, step func(string)) (pipeline.Outcome, error) {
	if s.cfg.Journal == nil {
		return pipeline.Outcome{}, nil
	}
	marks, err := s.cfg.Journal.Marked(ctx)
	if err != nil {
		return pipeline.Outcome{}, err
	}
	var names []string
	for _, mark := range slices.Sorted(maps.Keys(marks)) {
		name, ok := strings.CutPrefix(mark, markPrefix)
		if !ok {
			continue
		}
		kilobyte, err := strconv.ParseUint(marks[mark], 10, 64)
		if err != nil {
			return pipeline.Outcome{}, fmt.Errorf("reading the mark %s: %w", mark, err)
		}
		if err := s.threshold(ctx, name, kilobyte); err != nil && qdrant.Code(err) != codes.NotFound {
			return pipeline.Outcome{}, err
		}
		names = append(names, name)
	}
	for _, name := range names {
		if err := s.green(ctx, name, step); err != nil {
			return pipeline.Outcome{}, err
		}
		if err := s.cfg.Journal.Mark(ctx, markPrefix+name, ""); err != nil {
			return pipeline.Outcome{}, err
		}
		s.again(name)
	}
	return pipeline.Outcome{}, nil
}

// again lets the next write to a collection put its index off anew.
func (s *Sink) again(name string) {
	s.mu.Lock()
	t := s.targets[name]
	s.mu.Unlock()
	if t != nil {
		t.mu.Lock()
		t.deferred = false
		t.mu.Unlock()
	}
}

var errRed = errors.New("the collection is red: the server has failed on it")

// green waits until nothing is left to be indexed. A grey collection waits for
// a request to go on, as after a restart of the server.
func (s *Sink) green(ctx context.Context, name string, step func(string)) error {
	began, said := time.Now(), ""
	for {
		info, err := s.conn.Look(ctx, name)
		if err != nil || info == nil {
			return err
		}
		text := "building the vector index of " + name
		if n := info.GetPointsCount(); n > 0 && info.GetIndexedVectorsCount() > 0 {
			text += fmt.Sprintf(": %d %%", min(100*info.GetIndexedVectorsCount()/n, 100))
		}
		if text != said {
			step(text)
			said = text
		}
		switch info.GetStatus() {
		case pb.CollectionStatus_Green:
			return nil
		case pb.CollectionStatus_Red:
			return pipeline.Environment("building the vector index of "+name, errRed, "look at Qdrant's log")
		case pb.CollectionStatus_Grey:
			if _, err := s.conn.Collections.Update(ctx, &pb.UpdateCollection{CollectionName: name, OptimizersConfig: &pb.OptimizersConfigDiff{}}); err != nil {
				return qdrant.Classify("building the vector index of "+name, err)
			}
		}
		// A twentieth of the time so far: the end is seen soon, and a long wait is quiet.
		if err := pipeline.Sleep(ctx, min(max(time.Since(began)/20, 20*time.Millisecond), time.Second)); err != nil {
			return err
		}
	}
}
