package pipetest

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"outgrow/pipeline"
)

// Errors that an [Injector] makes. What it may be asked to retry is wrapped by
// [pipeline.Transient].
var (
	// ErrInjected came before the call did anything.
	ErrInjected = errors.New("injected fault")
	// ErrLost came after the call was durable: its answer got lost.
	ErrLost = errors.New("injected fault: the answer was lost")
	// ErrCrashed comes from every call after the crash.
	ErrCrashed = errors.New("injected crash")
)

// Faults says what goes wrong. The decisions follow from Seed and the order of
// the calls; workers that run at the same time may change that order. The zero
// value injects nothing.
type Faults struct {
	Seed uint64
	// Errors is the share of calls that fail transiently before doing
	// anything, 0 to 1.
	Errors float64
	// Lost is the share of acts (calls that make something durable) that are
	// done and then fail transiently.
	Lost float64
	// FailAt is the number of the act, from 1, that fails for good; 0 for none.
	FailAt int
	// CrashAt is the number of the act, from 1, at which the process dies:
	// before it, after it is durable, or in its middle (its ctx is cancelled
	// within a millisecond); 0 for never. Later calls return ErrCrashed.
	CrashAt int
	// CancelAt is the number of the call, from 1, before which Cancel is
	// called; 0 for never.
	CancelAt int
	Cancel   context.CancelFunc
	// Delay is the longest wait before a call.
	Delay time.Duration
}

// Injector makes what it wraps fail as its [Faults] say. One injector stands
// for one process: all that it wraps crashes together.
type Injector struct {
	f       Faults
	mu      sync.Mutex
	rng     *rand.Rand
	calls   int
	acts    int
	crashed bool
}

// New makes an injector.
func New(f Faults) *Injector {
	return &Injector{f: f, rng: rand.New(rand.NewPCG(f.Seed, 1))}
}

// Acts is how many acts were begun so far.
func (in *Injector) Acts() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.acts
}

// Crashed reports whether the crash has come.
func (in *Injector) Crashed() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.crashed
}

// Crash kills the process now.
func (in *Injector) Crash() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.crashed = true
}

// act does f, or not, or does it and says otherwise.
func (in *Injector) act(ctx context.Context, f func(context.Context) error) error {
	return in.call(ctx, true, f)
}

// ask is act for what changes nothing.
func (in *Injector) ask(ctx context.Context, f func(context.Context) error) error {
	return in.call(ctx, false, f)
}

func (in *Injector) call(ctx context.Context, act bool, f func(context.Context) error) error {
	in.mu.Lock()
	in.calls++
	var crash, fail bool
	if act {
		in.acts++
		crash, fail = in.acts == in.f.CrashAt, in.acts == in.f.FailAt
	}
	before, lost, moment := in.rng.Float64() < in.f.Errors, act && in.rng.Float64() < in.f.Lost, in.rng.IntN(3)
	var wait time.Duration
	middle := time.Duration(in.rng.Int64N(int64(time.Millisecond)))
	if in.f.Delay > 0 {
		wait = time.Duration(in.rng.Int64N(int64(in.f.Delay)))
	}
	cancel := in.calls == in.f.CancelAt && in.f.Cancel != nil
	if crash && moment == 0 {
		in.crashed = true
	}
	dead := in.crashed
	in.mu.Unlock()

	if cancel {
		in.f.Cancel()
	}
	switch {
	case dead:
		return ErrCrashed
	case fail:
		return ErrInjected
	case before:
		return pipeline.Transient(ErrInjected)
	}
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if crash && moment == 1 {
		var cut context.CancelFunc
		ctx, cut = context.WithTimeout(ctx, middle)
		defer cut()
	}
	err := f(ctx)
	in.mu.Lock()
	defer in.mu.Unlock()
	if crash {
		in.crashed = true
	}
	switch {
	case in.crashed:
		// Whoever waited for this answer is dead.
		return ErrCrashed
	case err == nil && lost:
		return pipeline.Transient(ErrLost)
	}
	return err
}

// Source wraps a source. What the inner one cannot do (Split, Count, Get, Keys)
// is done by reading it or answered with [errors.ErrUnsupported].
func Source[R pipeline.Record](in *Injector, s pipeline.Source[R]) pipeline.Source[R] {
	return &faultySource[R]{in, s}
}

type faultySource[R pipeline.Record] struct {
	in *Injector
	s  pipeline.Source[R]
}

func (f *faultySource[R]) Units(ctx context.Context) (out []pipeline.Unit, err error) {
	err = f.in.ask(ctx, func(ctx context.Context) (err error) { out, err = f.s.Units(ctx); return err })
	return out, err
}

func (f *faultySource[R]) Read(ctx context.Context, part pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[R], error] {
	return func(yield func(pipeline.Batch[R], error) bool) {
		for b, err := range f.s.Read(ctx, part, after) {
			if err == nil {
				err = f.in.ask(ctx, func(ctx context.Context) error { return nil })
			}
			if err != nil {
				yield(pipeline.Batch[R]{}, err)
				return
			}
			if !yield(b, nil) {
				return
			}
		}
	}
}

func (f *faultySource[R]) Close() error { return f.s.Close() }

func (f *faultySource[R]) Split(ctx context.Context, unit pipeline.Unit, n int) (out []pipeline.Part, err error) {
	s, ok := f.s.(pipeline.Splitter)
	if !ok {
		return []pipeline.Part{{Unit: unit}}, nil
	}
	err = f.in.ask(ctx, func(ctx context.Context) (err error) { out, err = s.Split(ctx, unit, n); return err })
	return out, err
}

func (f *faultySource[R]) Count(ctx context.Context, unit pipeline.Unit) (n int64, err error) {
	err = f.in.ask(ctx, func(ctx context.Context) (err error) {
		if c, ok := f.s.(pipeline.Counter); ok {
			n, err = c.Count(ctx, unit)
			return err
		}
		for b, err := range f.s.Read(ctx, pipeline.Part{Unit: unit}, "") {
			if err != nil {
				return err
			}
			n += int64(b.Read)
		}
		return nil
	})
	return n, err
}

func (f *faultySource[R]) Get(ctx context.Context, unit pipeline.Unit, keys []string) (out map[string]R, err error) {
	g, ok := f.s.(pipeline.Getter[R])
	if !ok {
		return nil, errors.ErrUnsupported
	}
	err = f.in.ask(ctx, func(ctx context.Context) (err error) { out, err = g.Get(ctx, unit, keys); return err })
	return out, err
}

func (f *faultySource[R]) Keys(ctx context.Context, unit pipeline.Unit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		k, ok := f.s.(pipeline.KeyLister)
		err := errors.ErrUnsupported
		if ok {
			err = f.in.ask(ctx, func(ctx context.Context) error { return nil })
		}
		if err != nil {
			yield("", err)
			return
		}
		k.Keys(ctx, unit)(yield)
	}
}

func (f *faultySource[R]) Identity(ctx context.Context) (id pipeline.Identity, err error) {
	i, ok := f.s.(pipeline.Identifier)
	if !ok {
		return id, errors.ErrUnsupported
	}
	err = f.in.ask(ctx, func(ctx context.Context) (err error) { id, err = i.Identity(ctx); return err })
	return id, err
}
