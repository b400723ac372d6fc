package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"outgrow/pipeline"
)

// throughput is what was moved over time. It stays small however long a run
// takes: where samples become too many, two become one of twice the length.
type throughput struct {
	Run string `json:"run,omitempty"`
	// Every is the length of a sample in seconds.
	Every float64 `json:"sample_seconds"`
	// Sittings are the times that processes worked on the run, in order.
	Sittings []sitting `json:"sittings"`
	Samples  []sample  `json:"samples"`
}

type sitting struct {
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"`
}

// sample is what one lane moved in a sample's time. Second counts the time
// worked, so pauses between sittings are not in it.
type sample struct {
	Second  float64       `json:"second"`
	Lane    pipeline.Lane `json:"lane"`
	Records int64         `json:"records"`
	Bytes   int64         `json:"bytes"`
}

// Samples begin with the first length and are at most so many a lane.
const (
	firstSample = 0.25
	mostSamples = 240
	keepEvery   = 5 * time.Second
)

// seconds is the time worked.
func (t *throughput) seconds() (all float64) {
	if t == nil {
		return 0
	}
	for _, s := range t.Sittings {
		all += s.Seconds
	}
	return all
}

// add puts what a lane moved into the sample of its time.
func (t *throughput) add(second float64, lane pipeline.Lane, records, bytes int64) {
	if records <= 0 && bytes <= 0 {
		return
	}
	for second >= t.Every*mostSamples {
		t.double()
	}
	at := math.Floor(second/t.Every) * t.Every
	for i := len(t.Samples) - 1; i >= 0 && t.Samples[i].Second >= at; i-- {
		if s := &t.Samples[i]; s.Second == at && s.Lane == lane {
			s.Records, s.Bytes = s.Records+records, s.Bytes+bytes
			return
		}
	}
	t.Samples = append(t.Samples, sample{at, lane, records, bytes})
}

func (t *throughput) double() {
	old := t.Samples
	t.Every, t.Samples = t.Every*2, nil
	for _, s := range old {
		t.add(s.Second, s.Lane, s.Records, s.Bytes)
	}
}

// sampler fills a throughput from the counters of a run that is under way.
type sampler struct {
	meter *pipeline.Meter
	file  string
	began time.Time
	past  float64 // seconds of earlier sittings
	last  map[pipeline.Lane]moved
	done  chan struct{}
	wg    sync.WaitGroup
	throughput
}

type moved struct{ records, bytes int64 }

// throughputFile is where the state folder keeps the samples of a command, also
// of one that is cut off.
func throughputFile(dir, command string) string {
	return filepath.Join(dir, "throughput-"+command+".json")
}

// readThroughput gives what is kept of a command, nil where nothing is.
func readThroughput(dir, command string) *throughput {
	body, err := os.ReadFile(throughputFile(dir, command))
	t := &throughput{}
	if err != nil || json.Unmarshal(body, t) != nil || t.Every <= 0 {
		return nil
	}
	return t
}

// startSampler begins a sitting. One of a run that was worked on before is added
// to it; resumed says that it may have been.
func startSampler(dir, command, run string, resumed bool, meter *pipeline.Meter) *sampler {
	s := &sampler{meter: meter, file: throughputFile(dir, command), began: time.Now(), last: map[pipeline.Lane]moved{}, done: make(chan struct{}),
		throughput: throughput{Run: run, Every: firstSample}}
	if old := readThroughput(dir, command); resumed && old != nil && old.Run == run {
		s.throughput = *old
	}
	s.past = s.seconds()
	s.Sittings = append(s.Sittings, sitting{At: s.began.UTC()})
	s.wg.Add(1)
	go s.watch()
	return s
}

func (s *sampler) watch() {
	defer s.wg.Done()
	t := time.NewTicker(time.Duration(firstSample * float64(time.Second)))
	defer t.Stop()
	kept := s.began
	for {
		select {
		case <-s.done:
			s.take()
			s.keep()
			return
		case <-t.C:
			s.take()
			if time.Since(kept) >= keepEvery {
				s.keep()
				kept = time.Now()
			}
		}
	}
}

// take adds what was moved since it was last called.
func (s *sampler) take() {
	now := time.Since(s.began).Seconds()
	sitting := &s.Sittings[len(s.Sittings)-1]
	from := s.past + sitting.Seconds
	sitting.Seconds = now
	sums := map[pipeline.Lane]moved{}
	for _, c := range s.meter.Units() {
		m := sums[c.Unit.Lane]
		m.records += c.Read.Load() - c.Before.Load()
		m.bytes += c.Bytes.Load() - c.BeforeBytes.Load()
		sums[c.Unit.Lane] = m
	}
	for _, lane := range pipeline.Lanes() {
		is, was := sums[lane], s.last[lane]
		s.add(from, lane, is.records-was.records, is.bytes-was.bytes)
		s.last[lane] = moved{max(is.records, was.records), max(is.bytes, was.bytes)}
	}
}

// keep writes the samples down. What cannot be written is only missing in the
// report.
func (s *sampler) keep() {
	if body, err := json.Marshal(&s.throughput); err == nil {
		_ = writeFile(s.file, append(body, '\n'))
	}
}

// stop ends the sitting and gives all that was sampled.
func (s *sampler) stop() *throughput {
	close(s.done)
	s.wg.Wait()
	return &s.throughput
}
