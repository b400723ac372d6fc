package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"outgrow/pipeline"
)

// laneProgress sums up the units of a lane.
type laneProgress struct {
	Lane  pipeline.Lane `json:"lane"`
	Read  int64         `json:"read"`
	Total int64         `json:"total"`
	Bytes int64         `json:"bytes"`
	// TotalBytes is estimated for units that are not done.
	TotalBytes int64   `json:"total_bytes"`
	Refused    int64   `json:"refused"`
	Doing      string  `json:"doing,omitempty"`
	Rate       float64 `json:"bytes_per_second"`
	// Left is the estimate of the time left in seconds, -1 when unknown.
	Left float64 `json:"seconds_left"`
}

// display shows the meter's counters until stop is called: bars on a terminal,
// a plain line every ten seconds without one, JSON lines with --json.
type display struct {
	meter *pipeline.Meter
	lanes []pipeline.Lane
	began time.Time
	done  chan struct{}
	wg    sync.WaitGroup
}

func startDisplay(w io.Writer, json bool, meter *pipeline.Meter, lanes []mover) *display {
	d := &display{meter: meter, began: time.Now(), done: make(chan struct{})}
	for _, l := range lanes {
		d.lanes = append(d.lanes, l.Kind())
		for _, u := range l.Units() {
			meter.Unit(u)
		}
	}
	show, every := d.plain, 10*time.Second
	switch {
	case json:
		show, every = d.jsonLine, time.Second
	case terminalOf(w) != nil:
		show, every = d.bars(w), 200*time.Millisecond
	}
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-d.done:
				show(w, true)
				return
			case <-t.C:
				show(w, false)
			}
		}
	}()
	return d
}

// stop draws once more and ends the display.
func (d *display) stop() {
	close(d.done)
	d.wg.Wait()
}

func (d *display) snapshot() []laneProgress {
	sums := map[pipeline.Lane]*laneProgress{}
	before := map[pipeline.Lane]int64{} // done by earlier processes, so that rates are honest
	for _, l := range d.lanes {
		sums[l] = &laneProgress{Lane: l, Doing: d.meter.Doing(l), Left: -1}
	}
	for _, c := range d.meter.Units() {
		if s, ok := sums[c.Unit.Lane]; ok {
			s.Read += c.Read.Load()
			s.Bytes += c.Bytes.Load()
			before[c.Unit.Lane] += c.BeforeBytes.Load()
			s.Refused += c.Refused.Load()
			s.Total += max(c.Unit.Records, c.Read.Load(), 0)
			// A unit that is done had what it had, whatever was estimated.
			if c.Done() {
				s.TotalBytes += c.Bytes.Load()
			} else {
				s.TotalBytes += max(c.Unit.Bytes, c.Bytes.Load(), 0)
			}
		}
	}
	secs := time.Since(d.began).Seconds()
	out := make([]laneProgress, 0, len(d.lanes))
	for _, l := range d.lanes {
		s := sums[l]
		if moved := s.Bytes - before[l]; secs > 0.5 && moved > 0 {
			s.Rate = float64(moved) / secs
			if s.Doing == "" {
				s.Left = float64(s.TotalBytes-s.Bytes) / s.Rate
			}
		}
		out = append(out, *s)
	}
	return out
}

// share is how much is done, by bytes where they are known.
func (p laneProgress) share() float64 {
	switch {
	case p.Read >= p.Total:
		return 1
	case p.TotalBytes > 0:
		return min(0.99, float64(p.Bytes)/float64(p.TotalBytes))
	}
	return float64(p.Read) / float64(p.Total)
}

func (p laneProgress) text() string {
	s := fmt.Sprintf("%s %.0f %%", p.Lane, 100*p.share())
	if p.Doing != "" {
		return s + " " + p.Doing
	}
	if p.Rate > 0 && p.Read < p.Total {
		s += " " + size(int64(p.Rate)) + "/s"
	}
	return s
}

func (d *display) line() string {
	var parts []string
	left := -1.0
	for _, p := range d.snapshot() {
		parts = append(parts, p.text())
		left = max(left, p.Left)
	}
	s := strings.Join(parts, " · ")
	if left >= 0.5 {
		s += " · about " + clock(time.Duration(left*float64(time.Second))) + " left"
	}
	return s
}

func (d *display) plain(w io.Writer, _ bool) { _, _ = fmt.Fprintln(w, d.line()) }

func (d *display) jsonLine(w io.Writer, _ bool) {
	emit(w, event{Event: "progress", Detail: d.snapshot()})
}

// bars draws one bar over all lanes, with the lanes' own figures beside it.
func (d *display) bars(w io.Writer) func(io.Writer, bool) {
	bar := progressbar.NewOptions64(1000, progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(18),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "▓", SaucerPadding: "░"}), progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish(), progressbar.OptionShowDescriptionAtLineEnd())
	return func(w io.Writer, last bool) {
		var done, total float64
		for _, p := range d.snapshot() {
			weight := float64(max(p.TotalBytes, 1))
			done += weight * p.share()
			total += weight
		}
		if total > 0 {
			_ = bar.Set64(min(999, int64(1000*done/total)))
		}
		bar.Describe(d.line())
		if last {
			_ = bar.Finish()
			_, _ = fmt.Fprintln(w, d.line())
		}
	}
}
