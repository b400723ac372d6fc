package pipetest

import (
	"errors"
	"slices"

	"outgrow/pipeline"
)

// upsert follows a source that changes after the load: what is the same, new,
// changed and gone, each twice, and what the target refuses.
func (s *sinkSuite[R]) upsert(t T) {
	all, target := s.Records(t), s.Target(t)
	early := slices.Clone(all)
	for i, e := range all {
		early[i].Records = e.Records[:len(e.Records)*3/4]
	}
	src := s.memory(pipeline.Limits{Records: 3}, early)
	p := s.begin(t, target, src)
	up, ok := p.sink.(pipeline.Upserter[R])
	if !ok {
		t.Skip("no Upserter")
	}
	p.rest(t, src, p.prepare(t, src, 1))
	p.finishLane(t)
	p.kill(t)

	p = s.begin(t, target, src)
	up = p.sink.(pipeline.Upserter[R])
	_ = p.prepare(t, src, 1)
	ctx := limited(t)
	want := slices.Clone(all)
	for i, e := range all {
		want[i].Records = slices.Clone(e.Records)
		write := func(how pipeline.Upsert, records ...R) {
			t.Helper()
			for range 2 {
				out, err := up.Upsert(ctx, e.Unit, records, how)
				if errors.Is(err, errors.ErrUnsupported) {
					t.Skip("no Upserter")
				}
				must(t, err, "upserting into %s", e.Unit.ID())
				if out.Written != len(records) || len(out.Refused) > 0 {
					t.Errorf("%s: of %d records %d were written, %s refused", e.Unit.ID(), len(records), out.Written, brief(out.Refused))
				}
			}
		}
		n := len(e.Records)
		write(pipeline.Upsert{})
		write(pipeline.Upsert{}, e.Records[n/2:]...) // half of them are there
		if s.Change == nil {
			continue
		}
		var changed []R
		for k := range want[i].Records {
			if k%3 == 0 {
				want[i].Records[k] = s.Change(want[i].Records[k])
				changed = append(changed, want[i].Records[k])
			}
		}
		write(pipeline.Upsert{Replace: true}, changed...)
	}
	if s.Bad != nil {
		for _, b := range s.Bad(t) {
			out, err := up.Upsert(ctx, b.Unit, b.Records, pipeline.Upsert{Final: true})
			must(t, err, "upserting bad records into %s", b.Unit.ID())
			if len(out.Refused) != len(b.Records) || out.Written != 0 {
				t.Errorf("%s: of %d bad records %d were written, %d refused", b.Unit.ID(), len(b.Records), out.Written, len(out.Refused))
			}
			for k, r := range out.Refused {
				if whole := pipeline.NewRefusal(b.Unit, b.Records[min(k, len(b.Records)-1)], "", "", ""); r.Reason == "" || r.Key == whole.Key && !sameJSON(r.Record, whole.Record) {
					t.Errorf("%s: %.80q is refused with reason %q as %.300s", b.Unit.ID(), r.Key, r.Reason, r.Record)
				}
			}
		}
	}
	p.kill(t)
	s.arrived(t, target, want)

	p = s.begin(t, target, src)
	_ = p.prepare(t, src, 1)
	for i, e := range want {
		var gone []string
		for k, r := range e.Records {
			if k%2 == 1 {
				gone = append(gone, r.Key())
			}
		}
		for range 2 {
			s.take(t, p.sink, e.Unit, append(gone, "no such key"))
		}
		want[i].Records = slices.DeleteFunc(slices.Clone(e.Records), func(r R) bool { return slices.Contains(gone, r.Key()) })
	}
	if d, ok := p.sink.(pipeline.Dropper); ok {
		last := &want[len(want)-1]
		for range 2 {
			if err := d.Drop(ctx, last.Unit); !errors.Is(err, errors.ErrUnsupported) {
				must(t, err, "dropping %s", last.Unit.ID())
				last.Records = nil
			}
		}
	}
	p.kill(t)
	s.arrived(t, target, want)
}

// ChangeVector gives another record of the same id and dimension.
func ChangeVector(v *pipeline.Vector) *pipeline.Vector {
	c := &pipeline.Vector{ID: v.ID, Text: new("changed é"), Metadata: []byte(`{"changed":"yes"}`), Embedding: slices.Clone(v.Embedding)}
	slices.Reverse(c.Embedding)
	return c
}

// take removes records that nothing refers to.
func (s *sinkSuite[R]) take(t T, sink pipeline.Sink[R], u pipeline.Unit, keys []string) {
	t.Helper()
	switch d := sink.(type) {
	case pipeline.Remover:
		err := d.Remove(limited(t), u, keys, func(out pipeline.Outcome) error {
			if len(out.Refused) > 0 {
				t.Errorf("%s: with the removed went %s", u.ID(), brief(out.Refused))
			}
			return nil
		})
		must(t, err, "removing from %s", u.ID())
	case pipeline.Deleter:
		must(t, d.Delete(limited(t), u, keys), "deleting from %s", u.ID())
	default:
		t.Errorf("an Upserter that is neither a Remover nor a Deleter")
	}
}
