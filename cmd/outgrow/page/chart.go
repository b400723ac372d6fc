package page

import (
	"fmt"
	"strings"
)

// Chart is curves over the same time, one below the other.
type Chart struct {
	Curves []Curve
	Ticks  []Tick
	// Seams are where the work was taken up again, as parts of the whole time.
	Seams []float64
	Note  string
}

// Tick is a mark on the time axis, At is its part of the whole (0 to 1).
type Tick struct {
	At   float64
	Text string
}

// Curve is a rate over time.
type Curve struct {
	Name, Peak, Mean string
	// Spans are disjoint and in order, From and To parts of the whole time.
	Spans []Span
}

// Span is a rate that held from one time to another; Height is a part of the
// highest.
type Span struct {
	From, To, Height float64
}

// The picture's own units; it is stretched to the width there is.
const (
	chartWide = 1000.0
	chartHigh = 100.0
)

// Area is the filled shape below the curve, as an SVG path.
func (c Curve) Area() string {
	return c.path(func(b *strings.Builder, run []Span) {
		fmt.Fprintf(b, "M%.1f %.1f", run[0].From*chartWide, chartHigh)
		steps(b, "L", run)
		fmt.Fprintf(b, "L%.1f %.1fZ", run[len(run)-1].To*chartWide, chartHigh)
	})
}

// Line is the curve itself, as an SVG path.
func (c Curve) Line() string {
	return c.path(func(b *strings.Builder, run []Span) { steps(b, "M", run) })
}

// path draws every run of spans without a gap between them.
func (c Curve) path(draw func(*strings.Builder, []Span)) string {
	var b strings.Builder
	for start := 0; start < len(c.Spans); {
		end := start + 1
		for end < len(c.Spans) && c.Spans[end].From-c.Spans[end-1].To < 1e-6 {
			end++
		}
		draw(&b, c.Spans[start:end])
		start = end
	}
	return b.String()
}

// steps draws the tops of the spans; first is the command of the first point.
func steps(b *strings.Builder, first string, run []Span) {
	for i, s := range run {
		command := "L"
		if i == 0 {
			command = first
		}
		y := chartHigh - s.Height*(chartHigh-4) // room for the line's own width
		fmt.Fprintf(b, "%s%.1f %.1fL%.1f %.1f", command, s.From*chartWide, y, s.To*chartWide, y)
	}
}
