package pipetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"

	"outgrow/pipeline"
)

// empty writes batches without records: their cursor moves, their lines stay.
func (s *sinkSuite[R]) empty(t T) {
	src, target := s.source(t), s.Target(t)
	p := s.begin(t, target, src)
	ctx := limited(t)
	q := p.prepare(t, src, 1)[0]
	id := q.Part.Unit.ID()
	refusal := pipeline.Refusal{Unit: id, Key: "odd \x00\x1f\xff key", Column: "c", Reason: pipeline.Orphan, Detail: "detail", Record: json.RawMessage(`{"a":"\u0000"}`)}
	change := pipeline.Change{Unit: id, Key: "odd \x00\x1f\xff key", Column: "c", Reason: pipeline.PathRewritten, Before: pipeline.Digest("a"), After: pipeline.Digest("b"), Note: "note"}
	batches := []pipeline.Batch[R]{
		{Part: q.Part, Prev: q.At, Next: "k1", Read: 1, Refused: []pipeline.Refusal{refusal}, Changed: []pipeline.Change{change}, Bytes: 7},
		{Part: q.Part, Prev: "k1", Next: "k2"},
	}
	for _, b := range batches {
		out, err := p.put(ctx, b)
		must(t, err, "writing a batch without records")
		if out.Written != 0 || len(out.Refused) > 0 {
			t.Errorf("a batch without records: %+v", out)
		}
	}
	p.kill(t)
	p = s.begin(t, target, src)
	parts, err := p.journal.Parts(ctx, q.Part.Unit)
	must(t, err, "reading the parts")
	if len(parts) != 1 || parts[0].At != "k2" || parts[0].Refused != 1 || parts[0].Written != 0 || parts[0].Bytes != 7 {
		t.Errorf("after two batches without records, the first with one refusal: %+v", parts)
	}
	refused, err := p.journal.Refused(ctx, id, refusal.Key)
	must(t, err, "looking a refusal up")
	if len(refused) != 1 || !sameRefusal(refused[0], refusal) {
		t.Errorf("the batch's own refusal came back as %+v", refused)
	}
	changed, err := p.journal.Changed(ctx, id, change.Key)
	must(t, err, "looking a change up")
	if len(changed) != 1 || changed[0] != change {
		t.Errorf("the batch's own change came back as %+v", changed)
	}
	if n := len(s.content(t, target)[id]); n != 0 {
		t.Errorf("%d records came from nothing", n)
	}
}

// refusals mixes bad records among the good: the good arrive, the bad stand in
// the quarantine, whole.
func (s *sinkSuite[R]) refusals(t T) {
	if s.Bad == nil {
		t.Skip("no record that the target refuses")
	}
	good, bad := s.Records(t), s.Bad(t)
	content := slices.Clone(good)
	for i, e := range content {
		for _, b := range bad {
			if b.Unit.ID() == e.Unit.ID() {
				content[i].Records = append(slices.Clone(e.Records), b.Records...)
			}
		}
	}
	src, target := s.memory(pipeline.Limits{Records: 5}, content), s.Target(t)
	for range 2 { // killed and resumed: no line is doubled
		p := s.begin(t, target, src)
		p.rest(t, src, p.prepare(t, src, 1))
		p.kill(t)
	}
	p := s.begin(t, target, src)
	p.finishLane(t)
	ctx := limited(t)
	for _, e := range bad {
		id := e.Unit.ID()
		for _, r := range e.Records {
			lines, err := p.journal.Refused(ctx, id, r.Key())
			must(t, err, "looking %q up in the quarantine", r.Key())
			if len(lines) == 0 {
				t.Errorf("%s: %.80q is not in the quarantine", id, r.Key())
				continue
			}
			whole := pipeline.NewRefusal(e.Unit, r, "", "", "")
			if l := lines[0]; l.Reason == "" || !sameJSON(l.Record, whole.Record) {
				t.Errorf("%s: %.80q stands in the quarantine with reason %q as %.300s, want %.300s", id, r.Key(), l.Reason, l.Record, whole.Record)
			}
		}
		n := 0
		for _, err := range p.journal.Refusals(ctx, id) {
			must(t, err, "listing the quarantine")
			n++
		}
		if n != len(e.Records) {
			t.Errorf("%s: %d lines in the quarantine for %d bad records", id, n, len(e.Records))
		}
	}
	p.kill(t)
	s.arrived(t, target, good)
}

// cancel writes with a cancelled ctx: an error, and the batch can be written
// later.
func (s *sinkSuite[R]) cancel(t T) {
	src, target := s.source(t), s.Target(t)
	p := s.begin(t, target, src)
	parts := p.prepare(t, src, 1)
	dead, kill := context.WithCancel(limited(t))
	kill()
	for b, err := range src.Read(limited(t), parts[0].Part, parts[0].At) {
		must(t, err, "reading")
		if _, err := p.sink.Write(dead, b); !errors.Is(err, context.Canceled) {
			t.Errorf("writing with a cancelled ctx gives %v", err)
		}
		break
	}
	p.rest(t, src, parts)
	p.finishLane(t)
	s.journaled(t, p.journal, s.Records(t))
	p.kill(t)
	s.arrived(t, target, s.Records(t))
}

// finish finishes twice, in the same and in another process.
func (s *sinkSuite[R]) finish(t T) {
	src, target := s.source(t), s.Target(t)
	p := s.begin(t, target, src)
	if _, ok := p.sink.(pipeline.Finisher); !ok {
		t.Skip("no Finisher")
	}
	p.rest(t, src, p.prepare(t, src, 1))
	dead, kill := context.WithCancel(limited(t))
	kill()
	if _, err := p.sink.(pipeline.Finisher).Finish(dead, func(string) {}); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("finishing with a cancelled ctx gives %v", err)
	}
	p.finishLane(t)
	p.finishLane(t)
	p.kill(t)
	p = s.begin(t, target, src)
	_ = p.prepare(t, src, 1)
	p.finishLane(t)
	p.kill(t)
	s.arrived(t, target, s.Records(t))
}

func (s *sinkSuite[R]) delete(t T) {
	src, target := s.source(t), s.Target(t)
	p := s.begin(t, target, src)
	d, ok := p.sink.(pipeline.Deleter)
	if !ok {
		t.Skip("no Deleter")
	}
	p.rest(t, src, p.prepare(t, src, 1))
	ctx := limited(t)
	left := slices.Clone(s.Records(t))
	for i, e := range left {
		var gone []string
		left[i].Records = nil
		for n, r := range e.Records {
			if n%2 == 0 {
				gone = append(gone, r.Key())
			} else {
				left[i].Records = append(left[i].Records, r)
			}
		}
		err := d.Delete(ctx, e.Unit, append(gone, "no such key", ""))
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip("no Deleter")
		}
		must(t, err, "deleting from %s", e.Unit.ID())
		must(t, d.Delete(ctx, e.Unit, gone), "deleting from %s again", e.Unit.ID())
		must(t, d.Delete(ctx, e.Unit, nil), "deleting nothing from %s", e.Unit.ID())
	}
	p.kill(t)
	s.arrived(t, target, left)
}

// replay puts records in that stand in the quarantine, twice.
func (s *sinkSuite[R]) replay(t T) {
	all, target := s.Records(t), s.Target(t)
	e := all[0]
	held := e.Records[:min(3, len(e.Records))]
	rest := slices.Clone(all)
	rest[0].Records = e.Records[len(held):]
	src := s.memory(pipeline.Limits{Records: 3}, rest)
	p := s.begin(t, target, src)
	put, ok := p.sink.(pipeline.Putter[R])
	if !ok {
		t.Skip("no Putter")
	}
	p.rest(t, src, p.prepare(t, src, 1))
	ctx := limited(t)
	var lines []pipeline.Refusal
	for _, r := range held {
		lines = append(lines, pipeline.NewRefusal(e.Unit, r, "", pipeline.Orphan, "held back"))
	}
	must(t, p.journal.AddLines(ctx, lines, nil), "adding lines")
	for range 2 {
		out, err := put.Put(ctx, e.Unit, held)
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip("no Putter")
		}
		must(t, err, "putting %d records in", len(held))
		if out.Written != len(held) || len(out.Refused) > 0 {
			t.Errorf("putting %d records in: %+v", len(held), out)
		}
	}
	for _, r := range held {
		refused, err := p.journal.Refused(ctx, e.Unit.ID(), r.Key())
		must(t, err, "looking %.80q up in the quarantine", r.Key())
		changed, err := p.journal.Changed(ctx, e.Unit.ID(), r.Key())
		must(t, err, "looking %.80q up in the ledger", r.Key())
		if len(refused) > 0 || len(changed) != 1 || changed[0].Reason != pipeline.Replayed {
			t.Errorf("%.80q was put in; the quarantine says %+v, the ledger %+v", r.Key(), refused, changed)
		}
	}
	p.finishLane(t)
	p.kill(t)
	s.arrived(t, target, all)
}

func (s *sinkSuite[R]) closing(t T) {
	p := s.open(t, s.Target(t))
	must(t, p.journal.Close(), "closing the journal")
	must(t, p.journal.Close(), "closing the journal twice")
	must(t, p.sink.Close(), "closing")
	must(t, p.sink.Close(), "closing twice")
	p.dead = true
}

// sameRefusal compares two lines; records as JSON values.
func sameRefusal(a, b pipeline.Refusal) bool {
	return a.Unit == b.Unit && a.Key == b.Key && a.Column == b.Column && a.Reason == b.Reason && a.Detail == b.Detail && sameJSON(a.Record, b.Record)
}

// sameJSON compares two JSON values; numbers by their literals.
func sameJSON(a, b json.RawMessage) bool {
	x, err := jsonValue(a)
	if err != nil {
		return string(a) == string(b)
	}
	y, err := jsonValue(b)
	return err == nil && reflect.DeepEqual(x, y)
}

func jsonValue(raw json.RawMessage) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}
