package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"outgrow/mappings/files"
	"outgrow/pipeline"
)

// objectSource and objectSink are the two sides of the lane of files.
type (
	objectSource  = pipeline.Source[*pipeline.Object]
	objectSink    = pipeline.Sink[*pipeline.Object]
	objectCompare = func(ctx context.Context, u pipeline.Unit, want, got *pipeline.Object) ([]pipeline.Field, error)
)

// fileReader is what every reader of files can do.
type fileReader interface {
	objectSource
	pipeline.Getter[*pipeline.Object]
	pipeline.Counter
	pipeline.KeyLister
	pipeline.Splitter
	pipeline.Identifier
	pipeline.Checker
}

// isUploads reports whether a unit goes through the storage provider. All others
// are served from the disk.
func isUploads(u pipeline.Unit) bool { return u.Name == files.Uploads }

// readRoute reads uploads by the storage provider and the served cache from
// DATA_DIR. Either may be nil.
type readRoute struct {
	uploads, disk fileReader
	stable        string // the identity that the deployment is known by
	keep          bool   // uploads is closed by somebody else
}

var _ fileReader = (*readRoute)(nil)

// errNoUnit is for units that were left out.
var errNoUnit = fmt.Errorf("this folder does not take part: %w", errors.ErrUnsupported)

func (r *readRoute) all() []fileReader {
	var out []fileReader
	for _, s := range []fileReader{r.uploads, r.disk} {
		if s != nil {
			out = append(out, s)
		}
	}
	return out
}

func (r *readRoute) of(u pipeline.Unit) (fileReader, error) {
	s := r.disk
	if isUploads(u) {
		s = r.uploads
	}
	if s == nil {
		return nil, &pipeline.Error{Op: "reading", Unit: u.ID(), Err: errNoUnit}
	}
	return s, nil
}

func (r *readRoute) Units(ctx context.Context) ([]pipeline.Unit, error) {
	var out []pipeline.Unit
	for _, s := range r.all() {
		units, err := s.Units(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, units...)
	}
	return out, nil
}

func (r *readRoute) Read(ctx context.Context, part pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Object], error] {
	s, err := r.of(part.Unit)
	if err != nil {
		return func(yield func(pipeline.Batch[*pipeline.Object], error) bool) {
			yield(pipeline.Batch[*pipeline.Object]{}, err)
		}
	}
	return s.Read(ctx, part, after)
}

func (r *readRoute) Get(ctx context.Context, u pipeline.Unit, keys []string) (map[string]*pipeline.Object, error) {
	s, err := r.of(u)
	if err != nil {
		return nil, err
	}
	return s.Get(ctx, u, keys)
}

func (r *readRoute) Count(ctx context.Context, u pipeline.Unit) (int64, error) {
	s, err := r.of(u)
	if err != nil {
		return 0, err
	}
	return s.Count(ctx, u)
}

func (r *readRoute) Keys(ctx context.Context, u pipeline.Unit) iter.Seq2[string, error] {
	s, err := r.of(u)
	if err != nil {
		return func(yield func(string, error) bool) { yield("", err) }
	}
	return s.Keys(ctx, u)
}

func (r *readRoute) Split(ctx context.Context, u pipeline.Unit, n int) ([]pipeline.Part, error) {
	s, err := r.of(u)
	if err != nil {
		return nil, err
	}
	return s.Split(ctx, u, n)
}

// Identity joins the states of both.
func (r *readRoute) Identity(ctx context.Context) (pipeline.Identity, error) {
	id := pipeline.Identity{Stable: r.stable}
	for _, s := range r.all() {
		one, err := s.Identity(ctx)
		if err != nil {
			return id, err
		}
		id.State += "/" + one.State
	}
	return id, nil
}

func (r *readRoute) Check(ctx context.Context, units []pipeline.Unit) ([]pipeline.Finding, error) {
	return checkBoth(ctx, units, r.uploads, r.disk)
}

// checkBoth asks each of the two about its own units.
func checkBoth(ctx context.Context, units []pipeline.Unit, uploads, disk any) ([]pipeline.Finding, error) {
	var all []pipeline.Finding
	for i, side := range []any{uploads, disk} {
		c, ok := side.(pipeline.Checker)
		if !ok {
			continue
		}
		own := slices.DeleteFunc(slices.Clone(units), func(u pipeline.Unit) bool { return isUploads(u) != (i == 0) })
		found, err := c.Check(ctx, own)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (r *readRoute) Close() error {
	var errs []error
	for _, s := range r.all() {
		if s != r.uploads || !r.keep {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// writeRoute writes uploads by the storage provider and the served cache into
// DATA_DIR. Either may be nil.
type writeRoute struct{ uploads, disk objectSink }

var (
	_ objectSink        = (*writeRoute)(nil)
	_ pipeline.Checker  = (*writeRoute)(nil)
	_ pipeline.Finisher = (*writeRoute)(nil)

	_ pipeline.Upserter[*pipeline.Object] = (*writeRoute)(nil)
	_ pipeline.Deleter                    = (*writeRoute)(nil)
	_ pipeline.Vacancy                    = (*writeRoute)(nil)
)

func (w *writeRoute) all() []objectSink {
	var out []objectSink
	for _, s := range []objectSink{w.uploads, w.disk} {
		if s != nil {
			out = append(out, s)
		}
	}
	return out
}

func (w *writeRoute) of(u pipeline.Unit) (objectSink, error) {
	s := w.disk
	if isUploads(u) {
		s = w.uploads
	}
	if s == nil {
		return nil, &pipeline.Error{Op: "writing", Unit: u.ID(), Err: errNoUnit}
	}
	return s, nil
}

func (w *writeRoute) Prepare(ctx context.Context, u pipeline.Unit) error {
	s, err := w.of(u)
	if err != nil {
		return err
	}
	return s.Prepare(ctx, u)
}

func (w *writeRoute) Write(ctx context.Context, b pipeline.Batch[*pipeline.Object]) (pipeline.Outcome, error) {
	s, err := w.of(b.Part.Unit)
	if err != nil {
		return pipeline.Outcome{}, err
	}
	return s.Write(ctx, b)
}

// Upsert and Delete pass on to the unit's own sink.
func (w *writeRoute) Upsert(ctx context.Context, u pipeline.Unit, records []*pipeline.Object, how pipeline.Upsert) (pipeline.Outcome, error) {
	s, err := w.of(u)
	if err != nil {
		return pipeline.Outcome{}, err
	}
	up, ok := s.(pipeline.Upserter[*pipeline.Object])
	if !ok {
		return pipeline.Outcome{}, &pipeline.Error{Op: "writing", Unit: u.ID(), Err: errors.ErrUnsupported}
	}
	return up.Upsert(ctx, u, records, how)
}

func (w *writeRoute) Delete(ctx context.Context, u pipeline.Unit, keys []string) error {
	s, err := w.of(u)
	if err != nil {
		return err
	}
	d, ok := s.(pipeline.Deleter)
	if !ok {
		return &pipeline.Error{Op: "removing", Unit: u.ID(), Err: errors.ErrUnsupported}
	}
	return d.Delete(ctx, u, keys)
}

// Vacant asks the unit's own sink.
func (w *writeRoute) Vacant(ctx context.Context, u pipeline.Unit) (bool, error) {
	s, err := w.of(u)
	if err != nil {
		return false, err
	}
	v, ok := s.(pipeline.Vacancy)
	if !ok {
		return false, nil
	}
	return v.Vacant(ctx, u)
}

func (w *writeRoute) Check(ctx context.Context, units []pipeline.Unit) ([]pipeline.Finding, error) {
	return checkBoth(ctx, units, w.uploads, w.disk)
}

// Finish passes on to those that have something to do after the load.
func (w *writeRoute) Finish(ctx context.Context, step func(string)) (pipeline.Outcome, error) {
	var out pipeline.Outcome
	for _, s := range w.all() {
		f, ok := s.(pipeline.Finisher)
		if !ok {
			continue
		}
		o, err := f.Finish(ctx, step)
		if err != nil {
			return out, err
		}
		out.Add(o)
	}
	return out, nil
}

func (w *writeRoute) Close() error {
	var errs []error
	for _, s := range w.all() {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// routeCompare compares what a provider keeps by one way and files on disk by
// another.
func routeCompare(uploads, disk objectCompare) objectCompare {
	return func(ctx context.Context, u pipeline.Unit, want, got *pipeline.Object) ([]pipeline.Field, error) {
		if isUploads(u) {
			return uploads(ctx, u, want, got)
		}
		return disk(ctx, u, want, got)
	}
}
