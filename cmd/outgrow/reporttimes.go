package main

import (
	"fmt"
	"math"
	"strings"

	"outgrow/cmd/outgrow/page"
	"outgrow/pipeline"
)

// timesSection compares what was predicted with what was measured.
func (r *report) timesSection() page.Section {
	var bars []page.Bar
	add := func(label, sub string, is, was float64, strong bool) {
		b := page.Bar{Label: label, Sub: sub, Share: is, Expected: was, Strong: strong}
		if is > 0 {
			b.Measured = spell(is)
		}
		if was > 0 {
			b.Predicted = spell(was)
		}
		if is > 0 && was > 0 {
			b.Deviation = strings.Trim(deviation(is, was), " ()")
		}
		bars = append(bars, b)
	}
	if c := r.guided(); c != nil {
		last := map[string]int{}
		for i, s := range c.Steps {
			last[s.Step] = i
		}
		for i, s := range c.Steps {
			if last[s.Step] == i {
				add(sentenceWord(s.Step), "", s.Seconds, s.Predicted, false)
			}
		}
		if c.Own > 0 || c.Window.Own > 0 {
			add("Downtime, outgrow’s part", "", c.Own, c.Window.Own, true)
		}
		if c.started() {
			add("Downtime, all of it", "", c.Downtime, c.Window.Total, true)
		}
	} else {
		if p := r.Plan; p != nil {
			add("Plan", "", p.Seconds, 0, false)
		}
		switch m := r.Migrate; {
		case m != nil:
			sub := ""
			if m.Throughput != nil && len(m.Throughput.Sittings) > 1 {
				sub = plural(int64(len(m.Throughput.Sittings)), "sitting")
			}
			add("Migrate", sub, m.took(), m.Predicted, false)
		case r.Plan != nil:
			add("Migrate", "", 0, r.Plan.Estimate, false)
		}
		if s := r.Sync; s != nil {
			add("Last pass", "", s.Seconds, s.Predicted, false)
		}
		if v := r.Verify; v != nil {
			add("Verify", "", v.Seconds, v.Predicted, false)
		}
	}
	longest := 0.0
	for _, b := range bars {
		longest = max(longest, b.Share, b.Expected)
	}
	for i := range bars {
		bars[i].Share, bars[i].Expected = bars[i].Share/longest, bars[i].Expected/longest
	}
	if longest == 0 {
		return page.Section{}
	}
	return page.Section{ID: "times", Title: "How long it took", Aside: "What was predicted before each step, and what was measured.", Blocks: []page.Block{{Bars: &page.Bars{Bars: bars}}}}
}

func sentenceWord(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// throughputSection draws what each lane moved over time.
func (r *report) throughputSection() page.Section {
	s := page.Section{ID: "throughput", Title: "Throughput"}
	if r.Migrate == nil || r.Migrate.Throughput == nil {
		return page.Section{}
	}
	t := r.Migrate.Throughput
	all := t.seconds()
	chart := &page.Chart{Ticks: ticks(all)}
	for _, l := range pipeline.Lanes() {
		if c, ok := t.curve(l, all); ok {
			chart.Curves = append(chart.Curves, c)
		}
	}
	worked := 0.0
	for _, part := range t.Sittings {
		if worked += part.Seconds; worked < all && worked > 0 {
			chart.Seams = append(chart.Seams, worked/all)
		}
	}
	if len(chart.Seams) > 0 {
		chart.Note = "A dashed line: the run was interrupted there, and went on later."
	}
	if len(chart.Curves) == 0 {
		return page.Section{}
	}
	s.Aside = "Read and durably written, during the " + spell(all) + " of the copy."
	s.Blocks = []page.Block{{Chart: chart}}
	return s
}

// curvePoints is how many spans a curve has at most.
const curvePoints = 120

// curve gives a lane's rate over the time worked, false where it moved nothing.
// Vectors are counted, the others weighed.
func (t *throughput) curve(l pipeline.Lane, all float64) (page.Curve, bool) {
	if all <= 0 {
		return page.Curve{}, false
	}
	unit := func(rate float64) string { return size(int64(rate)) + "/s" }
	of := func(s sample) int64 { return s.Bytes }
	if l == pipeline.Vectors {
		unit = func(rate float64) string { return number(int64(math.Round(rate))) + "/s" }
		of = func(s sample) int64 { return s.Records }
	}
	every := t.Every
	for all/every > curvePoints {
		every *= 2
	}
	bins := make([]float64, int(math.Ceil(all/every)))
	var total, first, end float64
	first = -1
	for _, s := range t.Samples {
		if i := int(s.Second / every); s.Lane == l && i < len(bins) {
			bins[i] += float64(of(s))
			total += float64(of(s))
			if first < 0 {
				first = s.Second
			}
			end = min(s.Second+t.Every, all)
		}
	}
	if total == 0 {
		return page.Curve{}, false
	}
	peak := 0.0
	for i := range bins {
		bins[i] /= min(every, all-float64(i)*every)
		peak = max(peak, bins[i])
	}
	mean := total / max(end-first, every/2)
	c := page.Curve{Name: sentenceWord(string(l)), Peak: unit(max(peak, mean)), Mean: unit(mean)}
	for i, b := range bins {
		c.Spans = append(c.Spans, page.Span{From: float64(i) * every / all, To: min(float64(i+1)*every/all, 1), Height: b / peak})
	}
	return c, true
}

// ticks marks the time axis at round times.
func ticks(all float64) []page.Tick {
	out := []page.Tick{{At: 0, Text: "0"}}
	step := 0.1
	for _, s := range []float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 36000} {
		if step = s; all/s <= 5 {
			break
		}
	}
	for at := step; at < all-step*0.6; at += step {
		out = append(out, page.Tick{At: at / all, Text: tickText(at)})
	}
	return append(out, page.Tick{At: 1, Text: tickText(all)})
}

func tickText(seconds float64) string {
	switch {
	case seconds < 10:
		return fmt.Sprintf("%.1f s", seconds)
	case seconds < 120:
		return fmt.Sprintf("%.0f s", seconds)
	}
	return spell(seconds)
}
