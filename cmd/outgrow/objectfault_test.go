package main

import (
	"net/http"
	"sync"
	"testing"

	"outgrow/testdata/servers"
)

// part matches what carries much of the large file, small what carries a small
// one.
var (
	part  = servers.Large(4 << 20)
	small = func(r *http.Request) bool { return !part(r) && servers.Large(10<<10)(r) }
)

// ever is a fault that does not end.
func ever(f servers.Fault) *servers.Fault { f.Times = -1; return &f }

// beside runs a test beside those that follow if it is a long one: it waits most
// of the time, and needs none of the places of parallel tests for that.
func beside(t *testing.T, all *sync.WaitGroup, long bool, name string, test func(*testing.T)) {
	t.Helper()
	if long {
		all.Go(func() { t.Run(name, test) })
	} else {
		t.Run(name, test)
	}
}

// What happens to bytes on their way to a store is found by the store's own
// check of their digests: it is tried again, or the command ends and the same
// command goes on. No store keeps damaged bytes.
func TestFaultsToObjectStore(t *testing.T) {
	t.Parallel()
	// The large file of none, of three and of eight parts.
	folders := map[int64]string{}
	wanted := map[int64]map[string]string{}
	for _, mib := range []int64{0, 40, 120} {
		folders[mib] = uploadsData(t, 20, mib<<20)
		wanted[mib] = contents(t, folders[mib])
	}
	eachStore(t, func(t *testing.T, s objectStore) {
		var ending sync.WaitGroup
		defer ending.Wait()
		for _, c := range []struct {
			name   string
			faults []*servers.Fault
			large  int64 // MiB
			ends   bool  // the faults are too many: the command ends, after many tries; these cases first
		}{
			{name: "byte flipped in every part", faults: []*servers.Fault{ever(servers.Fault{Do: servers.FlipRequest, Match: part})}, large: 40, ends: true},
			{name: "500 from part 7 on", faults: []*servers.Fault{ever(servers.Fault{Do: servers.ServerError, Match: part, After: 6})}, large: 120, ends: true},
			{name: "byte flipped in a small file", faults: []*servers.Fault{{Do: servers.FlipRequest, Match: small, After: 3}}},
			{name: "byte flipped in a part", faults: []*servers.Fault{{Do: servers.FlipRequest, Match: part, After: 1}}, large: 40},
			{name: "body cut", faults: []*servers.Fault{{Do: servers.CutRequest, Match: part, After: 1}, {Do: servers.CutRequest, Match: small}}, large: 40},
			{name: "500 on part 7", faults: []*servers.Fault{{Do: servers.ServerError, Match: part, After: 6}}, large: 120},
			{name: "connections reset", faults: []*servers.Fault{{Do: servers.Reset, Match: part, After: 2}, {Do: servers.Reset, Match: small, Times: 2}}, large: 40},
			{name: "answers lost", faults: []*servers.Fault{{Do: servers.LostAnswer, Match: part, After: 2}, {Do: servers.LostAnswer, Match: small, After: 5, Times: 2}}, large: 40},
		} {
			beside(t, &ending, c.ends, c.name, func(t *testing.T) {
				want := wanted[c.large]
				l := toStore(t, s, folders[c.large])
				l.proxy.Set(copies(c.faults)...)
				r := l.in(l.files("migrate")...)
				if n := l.proxy.Unmet(); n > 0 {
					t.Fatalf("%d faults were not met:\n%s", n, r.both())
				}
				if !c.ends {
					r.exits(0)
				} else if r.code != 1 && r.code != 3 {
					t.Errorf("exit %d, want 1 or 3\n%s", r.code, r.both())
				} else {
					r.nextStep()
					for name, sum := range l.objects() {
						if want[name] != sum {
							t.Errorf("the store keeps damaged bytes of %q", name)
						}
					}
				}
				l.proxy.Set()
				if c.ends {
					l.in(l.files("migrate")...).exits(0)
				}
				l.whole(want)
				l.in(l.files("verify")...).exits(0, "verify: equal")
			})
		}
	})
}

// The same on the way from a store: nothing damaged or short is written.
func TestFaultsFromObjectStore(t *testing.T) {
	t.Parallel()
	data := uploadsData(t, 20, 20<<20)
	want := contents(t, data)
	large, little := servers.Downloads("large.bin"), servers.Downloads("small 1.bin")
	eachStore(t, func(t *testing.T, s objectStore) {
		filled := toStore(t, s, data)
		filled.in(filled.files("migrate")...).exits(0)
		var ending sync.WaitGroup
		defer ending.Wait()
		for _, c := range []struct {
			name   string
			faults []*servers.Fault
			ends   bool
		}{
			{name: "byte flipped every time", faults: []*servers.Fault{ever(servers.Fault{Do: servers.FlipResponse, Match: large})}, ends: true},
			{name: "byte flipped", faults: []*servers.Fault{{Do: servers.FlipResponse, Match: large}, {Do: servers.FlipResponse, Match: little}}},
			{name: "body cut", faults: []*servers.Fault{{Do: servers.CutResponse, Match: large}, {Do: servers.CutResponse, Match: little}}},
			{name: "500", faults: []*servers.Fault{{Do: servers.ServerError, Match: large}, {Do: servers.ServerError, Match: little}}},
			{name: "connections reset", faults: []*servers.Fault{{Do: servers.Reset, Match: large}, {Do: servers.LostAnswer, Match: little}}},
		} {
			beside(t, &ending, c.ends, c.name, func(t *testing.T) {
				l := filled.fromStore(t)
				l.proxy.Set(copies(c.faults)...)
				r := l.in(l.files("migrate")...)
				if n := l.proxy.Unmet(); n > 0 {
					t.Fatalf("%d faults were not met:\n%s", n, r.both())
				}
				l.proxy.Set()
				if !c.ends {
					r.exits(0)
				} else {
					if r.code != 1 && r.code != 3 && r.code != 4 {
						t.Errorf("exit %d\n%s", r.code, r.both())
					}
					r.nextStep()
					for name, sum := range contents(t, l.share) {
						if want[name] != sum && name[0] != '.' {
							t.Errorf("the target keeps damaged bytes of %q", name)
						}
					}
					l.in(l.files("migrate")...).exits(0)
				}
				l.whole(want)
			})
		}
	})
}

// copies are faults that have not been met yet.
func copies(faults []*servers.Fault) (out []*servers.Fault) {
	for _, f := range faults {
		c := *f
		out = append(out, &c)
	}
	return out
}
