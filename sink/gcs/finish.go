package gcs

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"time"

	"outgrow/pipeline"
)

// patience is how long the end of an upload that does not matter may take.
const patience = 10 * time.Second

var _ pipeline.Finisher = (*Sink)(nil)

// Finish forgets the uploads that no run goes on with any more: everything is
// there, or refused. They are left of files that have changed or are gone since,
// and of a run that was killed while its object was being made. The server is
// told to drop them; one that does not answer drops them after a week.
func (s *Sink) Finish(ctx context.Context, _ func(string)) (pipeline.Outcome, error) {
	files, err := s.up.state.files()
	if err != nil {
		return pipeline.Outcome{}, unkept(err)
	}
	for _, f := range files {
		if ctx.Err() != nil {
			return pipeline.Outcome{}, context.Cause(ctx)
		}
		if left, err := s.up.state.load(f); err == nil && left != nil {
			ectx, cancel := context.WithTimeout(ctx, patience)
			_ = (&session{u: s.up, uri: left.uri(s.up)}).end(ectx)
			cancel()
		}
		s.up.state.remove(f)
	}
	return pipeline.Outcome{}, nil
}

// Unfinished counts the uploads that earlier runs with this state have left. Of
// others GCS does not tell: it has no request that lists them.
func (s *Sink) Unfinished(context.Context) (n int, err error) {
	files, err := s.up.state.files()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, unkept(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, suffix) {
			n++
		}
	}
	return n, nil
}
