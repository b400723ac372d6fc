// Package pipetest is the conformance suite that every reader, writer and
// journal passes, with an in-memory backend and a fault injector.
//
// A backend's test names how to open it and what is in it, the suite does the
// rest:
//
//	func TestConformance(t *testing.T) {
//		pipetest.TestSource(t, pipetest.SourceCase[*pipeline.Row]{
//			Open: func(t testing.TB, l pipeline.Limits) pipeline.Source[*pipeline.Row] { … },
//			Want: func(t testing.TB) []pipetest.Expected[*pipeline.Row] { … },
//		})
//	}
//
// [TestSource] checks a reader, [TestSink] a writer with its journal (kills and
// faults at every batch included), [TestJournal] a journal alone. [Memory] and
// [MemoryState] are a backend and a journal in memory, [Faults] makes any of
// them fail on purpose.
package pipetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"outgrow/pipeline"
)

// T is what the suites need of a *testing.T; tests of the suites hand in one
// that records the failures.
type T interface {
	testing.TB
	Run(name string, f func(T)) bool
}

type std struct{ *testing.T }

func (s std) Run(name string, f func(T)) bool {
	return s.T.Run(name, func(t *testing.T) { f(std{t}) })
}

// Expected is what a unit holds. Only Unit's ID has to be the reader's; where
// Records is compared the order does not count.
type Expected[R pipeline.Record] struct {
	Unit    pipeline.Unit
	Records []R
	// Refused lists the keys that the reader itself refuses.
	Refused []string
}

// Same compares two rows, vectors or objects by everything they hold: floats by
// their bits, objects by name, size, time (to the microsecond, where both have
// one) and content.
func Same[R pipeline.Record](want, got R) bool {
	switch w := any(want).(type) {
	case *pipeline.Row:
		g := any(got).(*pipeline.Row)
		return w.Table.Name == g.Table.Name && reflect.DeepEqual(w.Table.Columns, g.Table.Columns) &&
			reflect.DeepEqual(w.Table.Key, g.Table.Key) && reflect.DeepEqual(w.Values, g.Values)
	case *pipeline.Vector:
		g := any(got).(*pipeline.Vector)
		return w.ID == g.ID && sameText(w.Text, g.Text) && bytes.Equal(w.Metadata, g.Metadata) &&
			(w.Metadata == nil) == (g.Metadata == nil) && sameBits(w.Embedding, g.Embedding)
	case *pipeline.Object:
		return sameObject(w, any(got).(*pipeline.Object))
	}
	return reflect.DeepEqual(want, got)
}

func sameText(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func sameBits(a, b []float32) bool {
	if len(a) != len(b) || (a == nil) != (b == nil) {
		return false
	}
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return true
}

func sameObject(a, b *pipeline.Object) bool {
	if a.Name != b.Name || a.Bytes != b.Bytes {
		return false
	}
	if !a.ModTime.IsZero() && !b.ModTime.IsZero() && !a.ModTime.Truncate(time.Microsecond).Equal(b.ModTime.Truncate(time.Microsecond)) {
		return false
	}
	x, err := content(a)
	if err != nil {
		return false
	}
	y, err := content(b)
	return err == nil && bytes.Equal(x, y)
}

func content(o *pipeline.Object) ([]byte, error) {
	r, err := o.Open(context.Background())
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return body, err
}

// differences compares two sets of records by key and says what is wrong, in at
// most a few lines; "" when they are the same.
func differences[R pipeline.Record](want, got []R, equal func(want, got R) bool) string {
	var out []string
	have := map[string][]R{}
	for _, r := range got {
		have[r.Key()] = append(have[r.Key()], r)
	}
	for _, w := range want {
		k := w.Key()
		rest := have[k]
		if len(rest) == 0 {
			out = append(out, fmt.Sprintf("missing: %.80q", k))
			continue
		}
		at := 0
		for i, g := range rest {
			if equal(w, g) {
				at = i
				break
			}
			if i == len(rest)-1 {
				out = append(out, fmt.Sprintf("differs: %.80q: want %.300s, got %.300s", k, show(w), show(g)))
			}
		}
		have[k] = append(append([]R(nil), rest[:at]...), rest[at+1:]...)
	}
	for k, rest := range have {
		if len(rest) > 0 {
			out = append(out, fmt.Sprintf("%d too many: %.80q", len(rest), k))
		}
	}
	if len(out) > 6 {
		out = append(out[:6], fmt.Sprintf("and %d more", len(out)-6))
	}
	return strings.Join(out, "\n\t")
}

func show(r pipeline.Record) string {
	switch r := r.(type) {
	case *pipeline.Row:
		return fmt.Sprintf("%#v", r.Values)
	case *pipeline.Vector:
		text := "none"
		if r.Text != nil {
			text = fmt.Sprintf("%.60q", *r.Text)
		}
		return fmt.Sprintf("text %s, metadata %s, embedding %v", text, r.Metadata, r.Embedding)
	}
	return fmt.Sprintf("%+v", reflect.Indirect(reflect.ValueOf(r)))
}

// brief prints a value in a few words.
func brief(v any) string { return fmt.Sprintf("%.300s", fmt.Sprintf("%+q", fmt.Sprintf("%+v", v))) }

// limited gives a ctx that ends when a check hangs.
func limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func must(t testing.TB, err error, doing string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf(doing+": %v", append(args, err)...)
	}
}
