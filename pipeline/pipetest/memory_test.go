package pipetest

import (
	"fmt"
	"strings"
	"testing"

	"outgrow/pipeline"
)

type vector = pipeline.Vector

// sample is three units: one with odd keys and records of very different
// sizes, one small, one empty.
func sample(testing.TB) []Expected[*vector] {
	return []Expected[*vector]{
		{Unit: pipeline.Unit{Lane: pipeline.Vectors, Name: "big", Dim: 2}, Records: vectors(40, "k")},
		{Unit: pipeline.Unit{Lane: pipeline.Vectors, Name: "small", After: []string{"vectors/big", "files/uploads"}}, Records: vectors(4, "s")},
		{Unit: pipeline.Unit{Lane: pipeline.Vectors, Name: "empty"}},
	}
}

func vectors(n int, prefix string) []*vector {
	out := []*vector{{ID: prefix + "\x00\xff"}, {ID: prefix + "日本\x1f" + strings.Repeat("x", 5000)}}
	for i := range n {
		text := strings.Repeat("t", i*i)
		out = append(out, &vector{ID: fmt.Sprintf("%s%02d", prefix, i), Text: &text, Metadata: []byte(`{"n":3.0}`), Embedding: []float32{float32(i), 0.1}})
	}
	return out
}

func openSample(t testing.TB, l pipeline.Limits) pipeline.Source[*vector] {
	return NewMemory(l, sample(t)...)
}

func TestMemorySource(t *testing.T) {
	TestSource(t, SourceCase[*vector]{Open: openSample, Want: sample})
}

func TestFaultlessSource(t *testing.T) {
	TestSource(t, SourceCase[*vector]{Want: sample, Open: func(t testing.TB, l pipeline.Limits) pipeline.Source[*vector] {
		return Source(New(Faults{}), openSample(t, l))
	}})
}

// targets are the lanes in memory of one test, by name.
type targets struct {
	data   map[string]*Memory[*vector]
	states map[string]*MemoryState
}

func (s *targets) get(target string) (*Memory[*vector], *MemoryState) {
	if s.data == nil {
		s.data, s.states = map[string]*Memory[*vector]{}, map[string]*MemoryState{}
	}
	if s.data[target] == nil {
		m := NewMemory[*vector](pipeline.Limits{})
		m.Refuse = func(u pipeline.Unit, v *vector) *pipeline.Refusal {
			if !strings.HasPrefix(v.ID, "bad") {
				return nil
			}
			r := pipeline.NewRefusal(u, v, "id", pipeline.Invalid, "ids must not begin with bad")
			return &r
		}
		s.data[target], s.states[target] = m, &MemoryState{}
	}
	return s.data[target], s.states[target]
}

func (s *targets) sinkCase() SinkCase[*vector] {
	return SinkCase[*vector]{
		Records: sample,
		Bad: func(testing.TB) []Expected[*vector] {
			return []Expected[*vector]{{Unit: pipeline.Unit{Lane: pipeline.Vectors, Name: "big"}, Records: vectors(9, "bad")}}
		},
		Open: func(_ testing.TB, target string) (pipeline.Sink[*vector], pipeline.Journal) {
			m, _ := s.get(target)
			return m, nil
		},
		ReadBack: func(_ testing.TB, target string) pipeline.Source[*vector] {
			m, _ := s.get(target)
			return m
		},
	}
}

func (s *targets) transactional() SinkCase[*vector] {
	c := s.sinkCase()
	c.Open = func(_ testing.TB, target string) (pipeline.Sink[*vector], pipeline.Journal) {
		m, state := s.get(target)
		return NewMemoryTx(m, state), nil
	}
	c.Unlock = func(_ testing.TB, target string, _ pipeline.Journal) {
		_, state := s.get(target)
		state.Break()
	}
	return c
}

func TestMemorySink(t *testing.T) {
	TestSink(t, (&targets{}).sinkCase())
}

func TestMemoryTransactionalSink(t *testing.T) {
	TestSink(t, (&targets{}).transactional())
}

func TestMemoryJournal(t *testing.T) {
	states := map[string]*MemoryState{}
	TestJournal(t, func(_ testing.TB, dir string) pipeline.Journal {
		if states[dir] == nil {
			states[dir] = &MemoryState{}
		}
		return states[dir].Open()
	})
}
