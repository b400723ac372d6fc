package telemetry

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"outgrow/pipeline"
)

// series is what figures are counted by: few, however much there is to move.
type series struct {
	step string
	lane pipeline.Lane
}

// figures are the counters of a lane in this process, and where it stands.
type figures struct {
	read, written, refused, bytes, retries int64
	batches                                []int64 // by pipeline.DurationBounds
	took                                   time.Duration

	// Where the lane stands, with what earlier processes have moved.
	done, expected, units, unitsDone int64
}

func figuresOf(c *pipeline.Count) *figures {
	// Before is loaded last: what an earlier process moved never looks like this
	// one's own.
	f := &figures{written: c.Stored.Load(), retries: c.Retried.Load(), units: 1}
	f.done, f.refused, f.bytes = c.Read.Load(), c.Refused.Load(), c.Bytes.Load()
	f.expected = f.done
	if c.Done() {
		f.unitsDone = 1
	} else {
		f.expected = max(f.done, c.Unit.Records)
	}
	f.read = max(0, f.done-c.Before.Load())
	f.refused = max(0, f.refused-c.BeforeRefused.Load())
	f.bytes = max(0, f.bytes-c.BeforeBytes.Load())
	return f
}

// measure sums up a meter by lane.
func measure(m *pipeline.Meter) map[pipeline.Lane]*figures {
	out := map[pipeline.Lane]*figures{}
	for _, c := range m.Units() {
		if out[c.Unit.Lane] == nil {
			out[c.Unit.Lane] = &figures{}
		}
		f, one := out[c.Unit.Lane], figuresOf(c)
		f.count(one)
		f.done, f.expected = f.done+one.done, f.expected+one.expected
		f.units, f.unitsDone = f.units+one.units, f.unitsDone+one.unitsDone
	}
	for lane, f := range out {
		f.batches, f.took = m.Batches(lane).Read()
	}
	return out
}

// count adds the counters of others, and leaves where the lane stands.
func (f *figures) count(o *figures) {
	f.read, f.written, f.refused = f.read+o.read, f.written+o.written, f.refused+o.refused
	f.bytes, f.retries, f.took = f.bytes+o.bytes, f.retries+o.retries, f.took+o.took
	if f.batches == nil {
		f.batches = make([]int64, len(pipeline.DurationBounds())+1)
	}
	for i, n := range o.batches {
		f.batches[i] += n
	}
}

func (f *figures) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.Int64("outgrow.records.read", f.read), attribute.Int64("outgrow.records.written", f.written), attribute.Int64("outgrow.records.refused", f.refused),
		attribute.Int64("outgrow.read.bytes", f.bytes), attribute.Int64("outgrow.retries", f.retries),
	}
}

// keep adds the figures of a section that ends: counters grow on, and where the
// lane stands is as it was last. The caller holds the lock.
func (h *Hub) keep(k series, f *figures) { merge(h.past, k, f) }

func merge(into map[series]*figures, k series, f *figures) {
	sum := &figures{}
	if old := into[k]; old != nil {
		sum.count(old)
	}
	sum.count(f)
	sum.done, sum.expected, sum.units, sum.unitsDone = f.done, f.expected, f.units, f.unitsDone
	into[k] = sum
}

// line is one series with its figures.
type line struct {
	series
	*figures
}

// figures gives all series, those of sections under way included, in a fixed
// order.
func (h *Hub) figures() []line {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := maps.Clone(h.past)
	for _, s := range h.open {
		for lane, f := range measure(s.meter) {
			merge(all, series{s.step, lane}, f)
		}
	}
	out := make([]line, 0, len(all))
	for k, f := range all {
		out = append(out, line{k, f})
	}
	slices.SortFunc(out, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.step, b.step), cmp.Compare(a.lane, b.lane))
	})
	return out
}

// figure is one of a series, under both its names.
type figure struct {
	name, prometheus, unit, help string
	counter                      bool
	of                           func(*figures) int64
}

// every lists all figures but the durations.
func every() []figure {
	return []figure{
		{"outgrow.records.read", "outgrow_records_read_total", "{record}", "Records read from the source by this process.", true, func(f *figures) int64 { return f.read }},
		{"outgrow.records.written", "outgrow_records_written_total", "{record}", "Records that the target took from this process.", true, func(f *figures) int64 { return f.written }},
		{"outgrow.records.refused", "outgrow_records_refused_total", "{record}", "Lines for the quarantine: refused records, one for each reason.", true, func(f *figures) int64 { return f.refused }},
		{"outgrow.read.bytes", "outgrow_read_bytes_total", "By", "Bytes of the records read by this process.", true, func(f *figures) int64 { return f.bytes }},
		{"outgrow.retries", "outgrow_retries_total", "{attempt}", "Reads and writes made again after a transient error.", true, func(f *figures) int64 { return f.retries }},
		{"outgrow.progress.records", "outgrow_progress_records", "{record}", "Records done of the step, earlier processes of the run included.", false, func(f *figures) int64 { return f.done }},
		{"outgrow.progress.records.expected", "outgrow_progress_records_expected", "{record}", "Records that the step has to do, estimated until a unit is done.", false, func(f *figures) int64 { return f.expected }},
		{"outgrow.progress.units", "outgrow_progress_units", "{unit}", "Tables, collections and folders done.", false, func(f *figures) int64 { return f.unitsDone }},
		{"outgrow.progress.units.expected", "outgrow_progress_units_expected", "{unit}", "Tables, collections and folders that the step has to do.", false, func(f *figures) int64 { return f.units }},
	}
}

// The durations of batches.
const (
	durationName       = "outgrow.batch.duration"
	durationPrometheus = "outgrow_batch_duration_seconds"
	durationHelp       = "How long a batch took to be written and noted, or to be compared."

	attrLane = "outgrow.lane"
	attrStep = "outgrow.step"
)
