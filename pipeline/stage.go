package pipeline

import (
	"slices"
	"strings"
	"time"
)

// Stage is what a lane did for a while when it was not moving records. To is
// zero while it is under way.
type Stage struct {
	Lane     Lane
	What     string
	From, To time.Time
}

// mostStages bounds what a meter remembers, however a backend tells of its
// steps.
const mostStages = 256

// stages remembers what Meter.Step was told. Texts that differ in their figures
// alone ("34 %") are one stage.
type stages struct {
	list []Stage
	open map[Lane]int // 1 + its place in list, 0 for none
}

func (s *stages) next(l Lane, what string, now time.Time) {
	if n := s.open[l]; n > 0 {
		at := &s.list[n-1]
		if what != "" && noFigures(at.What) == noFigures(what) {
			at.What = what
			return
		}
		at.To = now
		s.open[l] = 0
	}
	if what == "" || len(s.list) >= mostStages {
		return
	}
	if s.open == nil {
		s.open = map[Lane]int{}
	}
	s.list = append(s.list, Stage{Lane: l, What: what, From: now})
	s.open[l] = len(s.list)
}

func noFigures(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, text)
}

// Stages lists what Step was told, in the order in which it began; a stage keeps
// its place in the list.
func (m *Meter) Stages() []Stage {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.stages.list)
}
