package main

import (
	"net/http"
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

// What happens to bytes on their way to a store is found by the store's own
// check of their digests: it is tried again, or the command ends and the same
// command goes on. No store keeps damaged bytes.
func TestFaultsToObjectStore(t *testing.T) {
	t.Parallel()
	data, seven := uploadsData(t, 20, largeBytes(t, 64)), uploadsData(t, 20, largeBytes(t, 128))
	eachStore(t, func(t *testing.T, s objectStore) {
		for _, c := range []struct {
			name   string
			faults []*servers.Fault
			ends   bool // the faults are too many: the command ends
			many   bool // the large file has more parts than seven
		}{
			{name: "byte flipped in a small file", faults: []*servers.Fault{{Do: servers.FlipRequest, Match: small, After: 3}}},
			{name: "byte flipped in a part", faults: []*servers.Fault{{Do: servers.FlipRequest, Match: part, After: 1}}},
			{name: "byte flipped in every part", faults: []*servers.Fault{ever(servers.Fault{Do: servers.FlipRequest, Match: part})}, ends: true},
			{name: "body cut", faults: []*servers.Fault{{Do: servers.CutRequest, Match: part, After: 1}, {Do: servers.CutRequest, Match: small}}},
			{name: "500 on part 7", faults: []*servers.Fault{{Do: servers.ServerError, Match: part, After: 6}}, many: true},
			{name: "500 from part 7 on", faults: []*servers.Fault{ever(servers.Fault{Do: servers.ServerError, Match: part, After: 6})}, ends: true, many: true},
			{name: "connections reset", faults: []*servers.Fault{{Do: servers.Reset, Match: part, After: 2}, {Do: servers.Reset, Match: small, Times: 2}}},
			{name: "answers lost", faults: []*servers.Fault{{Do: servers.LostAnswer, Match: part, After: 2}, {Do: servers.LostAnswer, Match: small, After: 5, Times: 2}}},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				data := data
				if c.many {
					data = seven
				}
				want := contents(t, data)
				l := toStore(t, s, data)
				l.proxy.Set(copies(c.faults)...)
				r := l.in(l.files("migrate")...)
				if l.proxy.Met() == 0 {
					t.Fatalf("no fault was met:\n%s", r.both())
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
	data := uploadsData(t, 20, largeBytes(t, 32))
	want := contents(t, data)
	large, little := servers.Downloads("large.bin"), servers.Downloads("small 1.bin")
	eachStore(t, func(t *testing.T, s objectStore) {
		filled := toStore(t, s, data)
		filled.in(filled.files("migrate")...).exits(0)
		for _, c := range []struct {
			name   string
			faults []*servers.Fault
			ends   bool
		}{
			{name: "byte flipped", faults: []*servers.Fault{{Do: servers.FlipResponse, Match: large}, {Do: servers.FlipResponse, Match: little}}},
			{name: "byte flipped every time", faults: []*servers.Fault{ever(servers.Fault{Do: servers.FlipResponse, Match: large})}, ends: true},
			{name: "body cut", faults: []*servers.Fault{{Do: servers.CutResponse, Match: large}, {Do: servers.CutResponse, Match: little}}},
			{name: "500", faults: []*servers.Fault{{Do: servers.ServerError, Match: large}, {Do: servers.ServerError, Match: little}}},
			{name: "connections reset", faults: []*servers.Fault{{Do: servers.Reset, Match: large}, {Do: servers.LostAnswer, Match: little}}},
		} {
			t.Run(c.name, func(t *testing.T) {
				filled.lab.tb = t
				l := filled.fromStore()
				l.proxy.Set(copies(c.faults)...)
				r := l.in(l.files("migrate")...)
				if l.proxy.Met() == 0 {
					t.Fatalf("no fault was met:\n%s", r.both())
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
