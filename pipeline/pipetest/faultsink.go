package pipetest

import (
	"context"
	"errors"
	"iter"

	"outgrow/pipeline"
)

// Sink wraps a sink. The result is [pipeline.Transactional] exactly when the
// inner one is; the inner journal is then wrapped as well. Of the other
// abilities those that the inner one lacks do nothing (Finish, Check, Release)
// or answer with [errors.ErrUnsupported].
func Sink[R pipeline.Record](in *Injector, s pipeline.Sink[R]) pipeline.Sink[R] {
	f := &faultySink[R]{in, s}
	if t, ok := s.(pipeline.Transactional); ok {
		return &faultyTx[R]{f, t}
	}
	return f
}

type faultySink[R pipeline.Record] struct {
	in *Injector
	s  pipeline.Sink[R]
}

type faultyTx[R pipeline.Record] struct {
	*faultySink[R]
	t pipeline.Transactional
}

func (f *faultyTx[R]) Journal() pipeline.Journal { return Journal(f.in, f.t.Journal()) }

func (f *faultySink[R]) Prepare(ctx context.Context, unit pipeline.Unit) error {
	return f.in.act(ctx, func(ctx context.Context) error { return f.s.Prepare(ctx, unit) })
}

func (f *faultySink[R]) Write(ctx context.Context, b pipeline.Batch[R]) (out pipeline.Outcome, err error) {
	err = f.in.act(ctx, func(ctx context.Context) (err error) { out, err = f.s.Write(ctx, b); return err })
	if err != nil {
		out = pipeline.Outcome{}
	}
	return out, err
}

func (f *faultySink[R]) Close() error { return f.s.Close() }

func (f *faultySink[R]) Finish(ctx context.Context, step func(string)) (out pipeline.Outcome, err error) {
	s, ok := f.s.(pipeline.Finisher)
	if !ok {
		return out, nil
	}
	err = f.in.act(ctx, func(ctx context.Context) (err error) { out, err = s.Finish(ctx, step); return err })
	if err != nil {
		out = pipeline.Outcome{}
	}
	return out, err
}

func (f *faultySink[R]) Delete(ctx context.Context, unit pipeline.Unit, keys []string) error {
	s, ok := f.s.(pipeline.Deleter)
	if !ok {
		return errors.ErrUnsupported
	}
	return f.in.act(ctx, func(ctx context.Context) error { return s.Delete(ctx, unit, keys) })
}

func (f *faultySink[R]) Upsert(ctx context.Context, unit pipeline.Unit, records []R, how pipeline.Upsert) (out pipeline.Outcome, err error) {
	s, ok := f.s.(pipeline.Upserter[R])
	if !ok {
		return out, errors.ErrUnsupported
	}
	err = f.in.act(ctx, func(ctx context.Context) (err error) { out, err = s.Upsert(ctx, unit, records, how); return err })
	return out, err
}

func (f *faultySink[R]) Put(ctx context.Context, unit pipeline.Unit, records []R) (out pipeline.Outcome, err error) {
	s, ok := f.s.(pipeline.Putter[R])
	if !ok {
		return out, errors.ErrUnsupported
	}
	err = f.in.act(ctx, func(ctx context.Context) (err error) { out, err = s.Put(ctx, unit, records); return err })
	return out, err
}

func (f *faultySink[R]) Release(ctx context.Context) error {
	s, ok := f.s.(pipeline.Releaser)
	if !ok {
		return nil
	}
	return f.in.act(ctx, s.Release)
}

func (f *faultySink[R]) Check(ctx context.Context, units []pipeline.Unit) (out []pipeline.Finding, err error) {
	s, ok := f.s.(pipeline.Checker)
	if !ok {
		return nil, nil
	}
	err = f.in.ask(ctx, func(ctx context.Context) (err error) { out, err = s.Check(ctx, units); return err })
	return out, err
}

// Journal wraps a journal.
func Journal(in *Injector, j pipeline.Journal) pipeline.Journal { return &faultyJournal{j, in} }

type faultyJournal struct {
	pipeline.Journal
	in *Injector
}

func (f *faultyJournal) Begin(ctx context.Context, run pipeline.Run) (res pipeline.Resumed, err error) {
	err = f.in.act(ctx, func(ctx context.Context) (err error) { res, err = f.Journal.Begin(ctx, run); return err })
	return res, err
}

func (f *faultyJournal) Parts(ctx context.Context, unit pipeline.Unit) (out []pipeline.Progress, err error) {
	err = f.in.ask(ctx, func(ctx context.Context) (err error) { out, err = f.Journal.Parts(ctx, unit); return err })
	return out, err
}

func (f *faultyJournal) All(ctx context.Context) (out []pipeline.Progress, err error) {
	err = f.in.ask(ctx, func(ctx context.Context) (err error) { out, err = f.Journal.All(ctx); return err })
	return out, err
}

func (f *faultyJournal) Fix(ctx context.Context, unit pipeline.Unit, parts []pipeline.Part) error {
	return f.in.act(ctx, func(ctx context.Context) error { return f.Journal.Fix(ctx, unit, parts) })
}

func (f *faultyJournal) Advance(ctx context.Context, step pipeline.Step) error {
	return f.in.act(ctx, func(ctx context.Context) error { return f.Journal.Advance(ctx, step) })
}

func (f *faultyJournal) FinishPart(ctx context.Context, part pipeline.Part) error {
	return f.in.act(ctx, func(ctx context.Context) error { return f.Journal.FinishPart(ctx, part) })
}

func (f *faultyJournal) Mark(ctx context.Context, name, value string) error {
	return f.in.act(ctx, func(ctx context.Context) error { return f.Journal.Mark(ctx, name, value) })
}

func (f *faultyJournal) AddLines(ctx context.Context, refused []pipeline.Refusal, changed []pipeline.Change) error {
	return f.in.act(ctx, func(ctx context.Context) error { return f.Journal.AddLines(ctx, refused, changed) })
}

func (f *faultyJournal) Refusals(ctx context.Context, unit string) iter.Seq2[pipeline.Refusal, error] {
	return guarded(f.in, f.Journal.Refusals(ctx, unit))
}

func (f *faultyJournal) Changes(ctx context.Context, unit string) iter.Seq2[pipeline.Change, error] {
	return guarded(f.in, f.Journal.Changes(ctx, unit))
}

// guarded ends a listing with ErrCrashed once the crash has come.
func guarded[L any](in *Injector, seq iter.Seq2[L, error]) iter.Seq2[L, error] {
	return func(yield func(L, error) bool) {
		for l, err := range seq {
			if in.Crashed() {
				err = ErrCrashed
			}
			if !yield(l, err) || err != nil {
				return
			}
		}
	}
}

func (f *faultyJournal) Refused(ctx context.Context, unit, key string) (out []pipeline.Refusal, err error) {
	err = f.in.ask(ctx, func(ctx context.Context) (err error) { out, err = f.Journal.Refused(ctx, unit, key); return err })
	return out, err
}

func (f *faultyJournal) Changed(ctx context.Context, unit, key string) (out []pipeline.Change, err error) {
	err = f.in.ask(ctx, func(ctx context.Context) (err error) { out, err = f.Journal.Changed(ctx, unit, key); return err })
	return out, err
}

func (f *faultyJournal) Release(ctx context.Context, unit string, keys []string) error {
	return f.in.act(ctx, func(ctx context.Context) error { return f.Journal.Release(ctx, unit, keys) })
}

func (f *faultyJournal) Accept(ctx context.Context, reasons []pipeline.Reason) error {
	return f.in.act(ctx, func(ctx context.Context) error { return f.Journal.Accept(ctx, reasons) })
}
