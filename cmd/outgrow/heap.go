package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// heapFloor is how large the heap may grow before anything of it is collected,
// in bytes.
const heapFloor = 48 << 20

// steadyHeap lets the heap grow to the larger of floor and twice of what is in
// use. Left alone the collector begins at 4 MiB and runs many times a second on
// the few batches that are in memory, and the longer a run is, the higher its
// peak: it depends on when a collection happens to begin. With a floor there is
// one collection for about ten without, and the peak is the same for every
// size. GOGC in the environment wins.
func steadyHeap(floor uint64) {
	if os.Getenv("GOGC") != "" {
		return
	}
	t := &heapTuner{floor: floor, sample: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
	t.tune()
}

type heapTuner struct {
	floor   uint64
	sample  []metrics.Sample
	percent int
}

// tune sets the goal of the next collection, and is called again behind it.
func (t *heapTuner) tune() {
	metrics.Read(t.sample)
	percent := 100
	if live := max(t.sample[0].Value.Uint64(), 4<<20); 2*live < t.floor {
		percent = int(100 * (t.floor - live) / live)
	}
	if d := percent - t.percent; d*d > t.percent*t.percent/100 { // more than a tenth off
		t.percent = percent
		debug.SetGCPercent(percent)
	}
	// A cleanup runs once the collector has found its object unused.
	runtime.AddCleanup(new([16]byte), func(t *heapTuner) { t.tune() }, t)
}
