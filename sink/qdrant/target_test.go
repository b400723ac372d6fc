package qdrant

import (
	"context"
	"slices"
	"strings"
	"testing"

	pb "github.com/qdrant/go-client/qdrant"

	"outgrow/mappings/env"
	"outgrow/mappings/qdrant"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/qdrant"
)

// fill copies records and finishes the lane.
func fill(t *testing.T, cfg env.QdrantConfig, content []pipetest.Expected[*pipeline.Vector]) pipeline.Journal {
	t.Helper()
	j := begun(t)
	if err := pipeline.Copy(t.Context(), pipeline.Job[*pipeline.Vector]{Source: pipetest.NewMemory(pipeline.Limits{Records: 20}, content...),
		Sink: open(t, Config{Store: cfg, Journal: j}), Journal: j, Transforms: transforms(cfg)}); err != nil {
		t.Fatal(err)
	}
	return j
}

func names(t *testing.T, cfg env.QdrantConfig) (out []string) {
	t.Helper()
	units, err := openReader(t, reader.Config{Store: cfg}).Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		out = append(out, u.Name)
	}
	return out
}

// Both layouts under one prefix: each sees, counts and empties its own, and a
// lane can be moved from the one to the other and back.
func TestBothLayoutsUnderOnePrefix(t *testing.T) {
	content := corpus(60, 6, 3)
	var want []string
	for _, e := range content {
		want = append(want, e.Unit.Name)
	}
	slices.Sort(want)
	plain := store(t, false)
	shared := plain
	shared.Multitenancy = true
	fill(t, plain, content)
	for _, step := range []struct{ from, to env.QdrantConfig }{{plain, shared}, {shared, plain}} {
		if step.to == plain {
			if err := open(t, Config{Store: plain}).Empty(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := names(t, plain); len(got) != 0 {
				t.Errorf("left over: %q", got)
			}
		}
		dst := open(t, Config{Store: step.to})
		src := openReader(t, reader.Config{Store: step.from})
		units, err := src.Units(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		findings, err := dst.Check(t.Context(), units)
		if err != nil || reasons(findings) != "" {
			t.Errorf("%+v, %v", findings, err)
		}
		if i := slices.IndexFunc(findings, func(f pipeline.Finding) bool { return f.Reason == OtherLayout }); i < 0 || findings[i].Count == 0 {
			t.Errorf("the other layout is not named: %+v", findings)
		}
		if err := pipeline.Copy(t.Context(), pipeline.Job[*pipeline.Vector]{Source: src, Sink: dst, Journal: begun(t), Transforms: transforms(step.to)}); err != nil {
			t.Fatal(err)
		}
		if got := names(t, step.to); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
		verify(t, src, step.to, nil)
		findings, err = dst.Check(t.Context(), units)
		if err != nil || reasons(findings) != "in-use" {
			t.Errorf("%+v, %v", findings, err)
		}
		if i := slices.IndexFunc(findings, func(f pipeline.Finding) bool { return f.Reason == InUse }); findings[i].Count != 60 {
			t.Errorf("%d records in use", findings[i].Count)
		}
	}
	if err := open(t, Config{Store: shared}).Empty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a, b := names(t, shared), names(t, plain); len(a) != 0 || !slices.Equal(b, want) {
		t.Errorf("multitenancy emptied: %q; the other layout: %q", a, b)
	}
}

// A plain collection called "files" and multitenancy's class of that name are
// told apart by their data, and neither is written into the other.
func TestThePrefixTrap(t *testing.T) {
	trap := []pipetest.Expected[*pipeline.Vector]{{Unit: unit("files", corpus(9, 3, 1)[0].Records...), Records: corpus(9, 3, 1)[0].Records}}
	plain, other := store(t, false), store(t, false)
	fill(t, plain, trap)
	shared := plain
	shared.Multitenancy = true
	if a, b := names(t, plain), names(t, shared); !slices.Equal(a, []string{"files"}) || len(b) != 0 {
		t.Errorf("%q and %q", a, b)
	}
	s := open(t, Config{Store: shared})
	file := unit("file-1")
	file.Dim = 3
	findings, err := s.Check(t.Context(), []pipeline.Unit{file})
	if err != nil || reasons(findings) != "qdrant-layout" {
		t.Errorf("%+v, %v", findings, err)
	}
	if err := s.Prepare(t.Context(), file); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("%v", err)
	}

	shared = other
	shared.Multitenancy = true
	fill(t, shared, corpus(9, 3, 1))
	if a, b := names(t, other), names(t, shared); len(a) != 0 || len(b) != 4 {
		t.Errorf("%q and %q", a, b)
	}
	s = open(t, Config{Store: other})
	if findings, err = s.Check(t.Context(), []pipeline.Unit{trap[0].Unit}); err != nil || reasons(findings) != "qdrant-layout" {
		t.Errorf("%+v, %v", findings, err)
	}
	if err := s.Prepare(t.Context(), trap[0].Unit); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("%v", err)
	}
}

// Collections of a deployment whose prefix is longer, and such as Open WebUI
// did not make, are neither read, counted nor deleted.
func TestOthersCollections(t *testing.T) {
	mine := store(t, false)
	longer := mine
	longer.Prefix += "_b"
	tenants := longer
	tenants.Multitenancy = true
	fill(t, longer, corpus(12, 3, 1)[:3])
	fill(t, tenants, corpus(12, 3, 1))
	conn, err := qdrant.Dial(t.Context(), mine)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	named := mine.Prefix + "_named"
	if _, err := conn.Collections.Create(t.Context(), &pb.CreateCollection{CollectionName: named,
		VectorsConfig: pb.NewVectorsConfigMap(map[string]*pb.VectorParams{"x": {Size: 3, Distance: pb.Distance_Cosine}})}); err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{Store: mine})
	findings, err := s.Check(t.Context(), nil)
	if err != nil || reasons(findings) != "" {
		t.Errorf("%+v, %v", findings, err)
	}
	if err := s.Empty(t.Context()); err != nil {
		t.Fatal(err)
	}
	src := openReader(t, reader.Config{Store: mine})
	if got := names(t, mine); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if findings, err = src.Check(t.Context(), nil); err != nil || len(findings) < 4 {
		t.Errorf("%+v, %v", findings, err)
	}
	if a, b := names(t, longer), names(t, tenants); len(a) != 3 || len(b) != 4 {
		t.Errorf("%q and %q", a, b)
	}
	if info, err := conn.Look(t.Context(), named); err != nil || info == nil {
		t.Errorf("%v, %v", info, err)
	}
}

func TestDimensions(t *testing.T) {
	shared, plain := store(t, true), store(t, false)
	a, b := corpus(8, 4, 1)[0], corpus(8, 5, 2)[1] // both of the class files
	other := a.Unit
	other.Dim = 7
	for _, c := range []struct {
		cfg   env.QdrantConfig
		units []pipeline.Unit
		want  string
	}{
		{shared, []pipeline.Unit{a.Unit, b.Unit}, "vector-dimension"},
		{plain, []pipeline.Unit{a.Unit, b.Unit}, ""},
		{plain, []pipeline.Unit{unit("a/b"), unit(strings.Repeat("x", 255))}, "collection-name collection-name"},
		{shared, []pipeline.Unit{unit("a/b"), unit(strings.Repeat("x", 255))}, ""},
	} {
		findings, err := open(t, Config{Store: c.cfg}).Check(t.Context(), c.units)
		if err != nil || reasons(findings) != c.want {
			t.Errorf("%s: %+v, %v", c.want, findings, err)
		}
		for _, f := range findings {
			if f.Reason == qdrant.Dimension && (!strings.Contains(f.Text, a.Unit.Name) || !strings.Contains(f.Text, b.Unit.Name)) {
				t.Errorf("it does not name both: %s", f.Text)
			}
		}
	}
	// Against what is there.
	for _, cfg := range []env.QdrantConfig{shared, plain} {
		fill(t, cfg, []pipetest.Expected[*pipeline.Vector]{a})
		s := open(t, Config{Store: cfg})
		findings, err := s.Check(t.Context(), []pipeline.Unit{other})
		if err != nil || reasons(findings) != "vector-dimension in-use" {
			t.Errorf("%+v, %v", findings, err)
		}
		if err := s.Prepare(t.Context(), other); pipeline.ExitCode(err) != pipeline.ExitUsage {
			t.Errorf("%v", err)
		}
	}
}

// An id of another tenant in the same class is not taken from it.
func TestPutTakesNoOtherTenantsRecord(t *testing.T) {
	cfg := store(t, true)
	content := corpus(8, 4, 1)
	j := fill(t, cfg, content)
	s := open(t, Config{Store: cfg, Journal: j})
	theirs := content[0].Records[0]
	fresh := &pipeline.Vector{ID: "6a2f41a3-c54c-4ce8-98fd-0b0a1e5a0c11", Embedding: []float32{1, 0, 0, 0}}
	out, err := s.Put(t.Context(), content[1].Unit, []*pipeline.Vector{theirs, fresh})
	if err != nil || out.Written != 1 || len(out.Refused) != 1 || out.Refused[0].Reason != pipeline.Duplicate || len(out.Changed) != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	got, err := openReader(t, reader.Config{Store: cfg}).Get(t.Context(), content[0].Unit, []string{theirs.ID})
	if err != nil || got[theirs.ID] == nil {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := open(t, Config{Store: cfg}).Put(t.Context(), content[1].Unit, nil); err == nil {
		t.Error("without a journal")
	}
}

// A unit whose dimension nobody knows gets its collection with its first
// record; a record of another length is refused.
func TestUnknownDimension(t *testing.T) {
	both(t, func(t *testing.T, multitenancy bool) {
		cfg := store(t, multitenancy)
		e := corpus(12, 4, 1)[0]
		odd := *e.Records[0]
		odd.ID, odd.Embedding = "6a2f41a3-c54c-4ce8-98fd-0b0a1e5a0c11", []float32{1, 2}
		e.Records = append(e.Records, &odd)
		e.Unit.Dim = 0
		j := fill(t, cfg, []pipetest.Expected[*pipeline.Vector]{e})
		lines, err := j.Refused(t.Context(), e.Unit.ID(), odd.ID)
		if err != nil || len(lines) != 1 || lines[0].Reason != qdrant.Dimension {
			t.Errorf("%+v, %v", lines, err)
		}
		n, err := openReader(t, reader.Config{Store: cfg}).Count(t.Context(), e.Unit)
		if err != nil || n != 3 {
			t.Errorf("%d records, %v", n, err)
		}
	})
}

func threshold(t *testing.T, cfg env.QdrantConfig, unit string) uint64 {
	t.Helper()
	conn, err := qdrant.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	info, err := conn.Look(t.Context(), qdrant.Collection(cfg, unit))
	if err != nil || info == nil {
		t.Fatal(err)
	}
	return info.GetConfig().GetOptimizerConfig().GetIndexingThreshold()
}

// What is taken away for the load is named in the journal before, survives a
// crash and is put back, once.
func TestIndexIsPutOff(t *testing.T) {
	both(t, func(t *testing.T, multitenancy bool) {
		cfg := store(t, multitenancy)
		j := begun(t)
		e := corpus(12, 4, 1)[0]
		name := markPrefix + qdrant.Collection(cfg, e.Unit.Name)
		marked := func() string {
			m, err := j.Marked(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return m[name]
		}
		s := open(t, Config{Store: cfg, Journal: j})
		if err := s.Prepare(t.Context(), e.Unit); err != nil {
			t.Fatal(err)
		}
		before := threshold(t, cfg, e.Unit.Name)
		if before == 0 || marked() != "" {
			t.Fatalf("%d, %q", before, marked())
		}
		for range 2 { // as two processes, the first of which crashed
			if _, err := open(t, Config{Store: cfg, Journal: j}).write(t.Context(), e.Unit, e.Records); err != nil {
				t.Fatal(err)
			}
			if n := threshold(t, cfg, e.Unit.Name); n != 0 || marked() != "10000" {
				t.Errorf("under way: %d, %q", n, marked())
			}
		}
		var steps []string
		for round := range 2 {
			if before := len(steps); round == 1 && before == 0 {
				t.Error("nothing was said")
			}
			steps = steps[:0]
			if _, err := open(t, Config{Store: cfg, Journal: j}).Finish(t.Context(), func(s string) { steps = append(steps, s) }); err != nil {
				t.Fatal(err)
			}
			if n := threshold(t, cfg, e.Unit.Name); n != before || marked() != "" {
				t.Errorf("finished: %d, %q", n, marked())
			}
		}
		if len(steps) != 0 {
			t.Errorf("finished a second time: %q", steps)
		}
		// A record put in from the quarantine puts nothing off: nobody would put it back.
		repaired := *e.Records[0]
		repaired.ID = "6a2f41a3-c54c-4ce8-98fd-0b0a1e5a0c11"
		if out, err := open(t, Config{Store: cfg, Journal: j}).Put(t.Context(), e.Unit, []*pipeline.Vector{&repaired}); err != nil || out.Written != 1 {
			t.Errorf("%+v, %v", out, err)
		}
		if n := threshold(t, cfg, e.Unit.Name); n != before || marked() != "" {
			t.Errorf("after a record was put in: %d, %q", n, marked())
		}
		// A mark whose collection was deleted meanwhile is no hindrance.
		if err := j.Mark(context.Background(), markPrefix+cfg.Prefix+"_gone", "10000"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Finish(t.Context(), func(string) {}); err != nil {
			t.Error(err)
		}
	})
}
