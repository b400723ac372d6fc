package advise_test

import (
	"strings"
	"testing"

	"outgrow/mappings/advise"
)

// Each row of the scaling guide's table, and where two of them meet.
func TestFor(t *testing.T) {
	t.Parallel()
	const (
		no  = advise.NotNeeded
		may = advise.Recommended
		yes = advise.Required
	)
	for _, c := range []struct {
		size advise.Size
		want [4]advise.Need // PostgreSQL, Redis, vector store, storage
	}{
		{advise.Size{Users: 1, Instances: 1, Workers: 1}, [4]advise.Need{no, no, no, no}},
		{advise.Size{Users: 2, Instances: 1, Workers: 1}, [4]advise.Need{may, no, no, no}},
		{advise.Size{Users: 49, Instances: 1, Workers: 1}, [4]advise.Need{may, no, no, no}},
		{advise.Size{Users: 50, Instances: 1, Workers: 1}, [4]advise.Need{may, no, no, no}},
		{advise.Size{Users: 999, Instances: 1, Workers: 1}, [4]advise.Need{may, no, no, no}},
		{advise.Size{Users: 1, Instances: 1, Workers: 2}, [4]advise.Need{yes, yes, yes, no}},
		{advise.Size{Users: 10, Instances: 2, Workers: 1}, [4]advise.Need{yes, yes, yes, yes}},
		{advise.Size{Users: 10, Instances: 2, Workers: 2}, [4]advise.Need{yes, yes, yes, yes}},
		{advise.Size{Users: 1000, Instances: 1, Workers: 1}, [4]advise.Need{yes, yes, yes, may}},
		{advise.Size{Users: 1000, Instances: 3, Workers: 1}, [4]advise.Need{yes, yes, yes, yes}},
	} {
		got := advise.For(c.size)
		for i, p := range got {
			if p.Need != c.want[i] {
				t.Errorf("%+v: %s is %s, want %s", c.size, p.Name, p.Need, c.want[i])
			}
			if len(p.Why) == 0 || (p.Need == no) != (p.Note == "") || (p.Need == no && p.Set != nil) {
				t.Errorf("%+v: %s says too little or too much: %+v", c.size, p.Name, p)
			}
		}
		if several := c.size.Processes() > 1; several != (advise.Always(c.size) != nil) {
			t.Errorf("%+v: always %q", c.size, advise.Always(c.size))
		}
	}
}

func TestConnections(t *testing.T) {
	t.Parallel()
	if note := advise.For(advise.Size{Users: 100, Instances: 3, Workers: 2})[0].Note; !strings.Contains(note, "210 connections") {
		t.Errorf("3 instances of 2 workers: %s", note)
	}
}
