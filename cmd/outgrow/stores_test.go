package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
)

// storesOf are all that the table must know.
func storesOf() map[string]env.Vector {
	return map[string]env.Vector{
		"chroma embedded": {Kind: env.Chroma},
		"chroma http":     {Kind: env.Chroma, Chroma: env.ChromaConfig{Host: "chroma", Port: 8000}},
		"pgvector":        {Kind: env.PGVector, PG: env.PGVectorConfig{MaxLength: 1536}},
		"qdrant":          {Kind: env.Qdrant, Qdrant: env.QdrantConfig{URI: "http://q:6333", Host: "q", GRPCPort: 6334, Prefix: "open-webui"}},
		"qdrant shared":   {Kind: env.Qdrant, Qdrant: env.QdrantConfig{URI: "http://q:6333", Host: "q", GRPCPort: 6334, Prefix: "open-webui", Multitenancy: true}},
		"milvus":          {Kind: env.Milvus, Milvus: env.MilvusConfig{Address: "m:19530", Database: "default"}},
		"milvus shared":   {Kind: env.Milvus, Milvus: env.MilvusConfig{Address: "m:19530", Database: "default", Prefix: "open_webui", Multitenancy: true}},
		"pinecone":        {Kind: env.Pinecone, Pinecone: env.PineconeConfig{Index: "i", Dimension: 1536, Metric: "cosine"}},
	}
}

// Every store has all that the commands ask of it.
func TestStoreTable(t *testing.T) {
	t.Parallel()
	for name, v := range storesOf() {
		s, ok := storeOf(v)
		if !ok {
			t.Errorf("%s is not known", name)
			continue
		}
		if s.source == nil || s.describe == nil || s.space == nil || s.place == nil || s.describe(v) == "" {
			t.Errorf("%s lacks something of a source", name)
		}
		if s.sink == nil || s.transform == nil || s.compare == nil || s.disk == nil || s.writers == 0 || s.batch == 0 {
			t.Errorf("%s lacks something of a target", name)
		}
		if s.disk(v, 10, 1000) < 1000 {
			t.Errorf("%s: 1000 bytes need %d", name, s.disk(v, 10, 1000))
		}
		_, _, refused := s.transform(v, nil, false)(pipeline.Unit{Lane: pipeline.Vectors, Name: "knowledge-bases"}, &pipeline.Vector{ID: "8c1d9a90-0000-4000-8000-000000000001"})
		if len(refused) != 1 || refused[0].Reason != pipeline.NeedsEmbedding {
			t.Errorf("%s takes a record without a vector: %+v", name, refused)
		}
	}
	if _, ok := storeOf(env.Vector{Kind: "weaviate"}); ok {
		t.Error("an unknown store is known")
	}
}

func TestUnsupportedStores(t *testing.T) {
	t.Parallel()
	all := storesOf()
	for name, v := range all {
		if errs := supportedStores(v, v, nil); len(errs) > 0 {
			t.Errorf("%s on both sides: %v", name, errs)
		}
	}
	weaviate := env.Vector{Kind: "weaviate"}
	if errs := supportedStores(weaviate, weaviate, nil); len(errs) != 2 {
		t.Errorf("%v", errs)
	}
	told := map[string]bool{"from VECTOR_DB": true, "to VECTOR_DB": true}
	if errs := supportedStores(weaviate, weaviate, told); len(errs) != 0 {
		t.Errorf("told twice: %v", errs)
	}
	if err := supported(env.Deployment{Vector: weaviate}, env.Deployment{Vector: weaviate}, laneFlags{Only: []string{"rows"}}, nil); err != nil {
		t.Errorf("a lane that stays behind is refused: %v", err)
	}
}

// What has the same place is the same store.
func TestPlaces(t *testing.T) {
	t.Parallel()
	q := func(host string, port int, prefix string, shared bool) string {
		v := env.Vector{Kind: env.Qdrant, Qdrant: env.QdrantConfig{Host: host, GRPCPort: port, Prefix: prefix, Multitenancy: shared}}
		s, _ := storeOf(v)
		place, err := s.place(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		return place
	}
	one := q("localhost", 6334, "open-webui", true)
	if one != q("127.0.0.1", 6334, "open-webui", true) || one != q("LOCALHOST", 6334, "open-webui", true) {
		t.Error("two names of one host are two places")
	}
	for _, other := range []string{q("localhost", 6335, "open-webui", true), q("localhost", 6334, "other", true), q("localhost", 6334, "open-webui", false), q("10.0.0.1", 6334, "open-webui", true)} {
		if one == other {
			t.Errorf("%s is another place", other)
		}
	}
}

// keyed is a source of ids only.
type keyed struct {
	vectorSource
	ids map[string][]string
}

func (k *keyed) Keys(_ context.Context, u pipeline.Unit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, id := range k.ids[u.Name] {
			if !yield(id, nil) {
				return
			}
		}
	}
}

// conflictsOf looks for conflicts between a plain Qdrant and another store.
func conflictsOf(t *testing.T, to env.Vector, how string, ids map[string][]string) (*session, error) {
	t.Helper()
	s := &session{app: &app{ctx: t.Context()}, state: t.TempDir(), idConflicts: how, from: env.Deployment{Vector: storesOf()["qdrant"]}, to: env.Deployment{Vector: to}}
	l := &lane[*pipeline.Vector]{kind: pipeline.Vectors, source: &keyed{ids: ids}}
	for name := range ids {
		l.units = append(l.units, pipeline.Unit{Lane: pipeline.Vectors, Name: name})
	}
	a, _ := storeOf(s.from.Vector)
	b, _ := storeOf(to)
	var err error
	s.conflicts, err = (&opener{session: s, ctx: t.Context()}).findConflicts(a, b, l)
	return s, err
}

func TestFindConflicts(t *testing.T) {
	t.Parallel()
	ids := map[string][]string{"b": {"1", "2", "\xff\x00"}, "a": {"2", "3", "3", ""}, "file-x": {"2", "", "\xff\x00"}}
	got := func(to, how string) (*session, []string) {
		s, err := conflictsOf(t, storesOf()[to], how, ids)
		if err != nil {
			t.Fatal(err)
		}
		if s.conflicts == nil {
			return s, nil
		}
		var keys []string
		for k := range s.conflicts.mapped {
			keys = append(keys, strings.ReplaceAll(k, pipeline.KeySeparator, " "))
		}
		slices.Sort(keys)
		return s, keys
	}
	for to, want := range map[string][]string{
		"chroma http": nil, "qdrant": nil, "milvus": nil,
		"qdrant shared": {"b 2"}, // file-x is of another class
		"milvus shared": {"b 2"},
		"pgvector":      {"b 2", "file-x ", "file-x 2", "file-x \xff\x00"},
		"pinecone":      {"b 2", "file-x ", "file-x 2", "file-x \xff\x00"},
	} {
		s, keys := got(to, mapIDs)
		if !slices.Equal(keys, want) {
			t.Errorf("to %s: %q, want %q", to, keys, want)
		}
		if f := s.conflictFindings(); len(want) > 0 && (len(f) != 1 || f[0].Severity != pipeline.Note) {
			t.Errorf("to %s: %+v", to, f)
		}
	}
	s, keys := got("pgvector", failOnIDs)
	f := s.conflictFindings()
	if len(keys) != 0 || len(f) != 3 || f[0].Severity != pipeline.Refuse || !strings.Contains(f[0].Fix, "--id-conflicts=uuid5") || !strings.Contains(f[1].Text, "a, b, file-x") {
		t.Errorf("%d mapped, %+v", len(keys), f)
	}
	s, _ = got("pgvector", mapIDs)
	u := pipeline.Unit{Lane: pipeline.Vectors, Name: "b"}
	before := &pipeline.Vector{ID: "2", Embedding: []float32{1}}
	after, changes, _ := s.conflicts.transform(u, before)
	if before.ID != "2" || after.ID != vectors.MappedID("b", "2") || len(changes) != 1 || changes[0].Key != "2" || changes[0].Reason != vectors.IDMapped {
		t.Errorf("%+v %+v", after, changes)
	}
	u.Name = "a"
	if kept, changes, _ := s.conflicts.transform(u, before); kept != before || len(changes) != 0 {
		t.Error("the first collection loses its id")
	}
}

// What has to be held in memory is bounded, and said.
func TestTooManyConflicts(t *testing.T) {
	t.Parallel()
	list := make([]string, maxConflicts+1)
	for i := range list {
		list[i] = fmt.Sprintf("%08d", i)
	}
	ids := map[string][]string{"a": list, "b": list}
	if _, err := conflictsOf(t, storesOf()["pgvector"], mapIDs, ids); pipeline.ExitCode(err) != pipeline.ExitUsage || pipeline.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
	ids = map[string][]string{"a": list[:30], "b": list[:30]}
	s, err := conflictsOf(t, storesOf()["pgvector"], failOnIDs, ids)
	if err != nil {
		t.Fatal(err)
	}
	if f := s.conflictFindings(); len(f) != shownCollisions+1 || f[shownCollisions].Count != 30 {
		t.Errorf("%d findings", len(f))
	}
}

// A target in use is ours exactly when the lane's own journal tells of a run on
// it.
func TestNotOurs(t *testing.T) {
	t.Parallel()
	state, err := localstate.Open(t.Context(), t.TempDir(), pipeline.Vectors)
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	target := "one"
	l := &lane[*pipeline.Vector]{kind: pipeline.Vectors, own: true, journal: state, fingerprint: func(context.Context) (string, error) { return target, nil }}
	found := []pipeline.Finding{{Severity: pipeline.Note, Reason: "other"}, {Severity: pipeline.Refuse, Reason: inUse, Text: "in use", Fix: "--replace"}, {Severity: pipeline.Refuse, Reason: "layout"}}
	check := func(name string, want ...pipeline.Severity) {
		t.Helper()
		out, err := l.notOurs(t.Context(), found)
		if err != nil {
			t.Fatal(err)
		}
		var got []pipeline.Severity
		for _, f := range out {
			got = append(got, f.Severity)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	check("nothing begun", pipeline.Note, pipeline.Refuse, pipeline.Refuse)
	if _, err := state.Begin(t.Context(), pipeline.Run{ID: "x", Target: "one"}); err != nil {
		t.Fatal(err)
	}
	check("begun", pipeline.Note, pipeline.Refuse)
	target = "two"
	check("begun elsewhere", pipeline.Note, pipeline.Refuse, pipeline.Refuse)
	l.replace = true
	check("to be replaced", pipeline.Note, pipeline.Warn, pipeline.Refuse)
}

// emptier counts how often it is asked, and fails at first.
type emptier struct {
	vectorSink
	calls int
}

func (e *emptier) Empty(context.Context) error {
	if e.calls++; e.calls == 1 {
		return errors.New("connection lost")
	}
	return nil
}

// A target is emptied once for a run with --replace, again when that failed, and
// never for another run.
func TestEmptiedOnce(t *testing.T) {
	t.Parallel()
	state, err := localstate.Open(t.Context(), t.TempDir(), pipeline.Vectors)
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	run := pipeline.Run{ID: "x", Replace: true}
	if _, err := state.Begin(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	e := &emptier{}
	l := &lane[*pipeline.Vector]{kind: pipeline.Vectors, own: true, journal: state, sink: e}
	if err := l.Empty(t.Context(), pipeline.Run{ID: "x"}); err != nil || e.calls != 0 {
		t.Errorf("emptied without --replace: %d, %v", e.calls, err)
	}
	if err := l.Empty(t.Context(), run); err == nil {
		t.Error("a failure is hidden")
	}
	for range 3 {
		if err := l.Empty(t.Context(), run); err != nil {
			t.Fatal(err)
		}
	}
	if e.calls != 2 {
		t.Errorf("emptied %d times, want 2", e.calls)
	}
}

// A batch is what the flag says, else what suits the store, and no more than may
// be written in a second.
func TestVectorLimits(t *testing.T) {
	t.Parallel()
	to := vectorStore{batch: 8, records: 1000}
	for _, c := range []struct {
		flags laneFlags
		want  pipeline.Limits
	}{
		{laneFlags{}, pipeline.Limits{Records: 1000, Bytes: 8 << 20}},
		{laneFlags{Batch: 2}, pipeline.Limits{Records: 1000, Bytes: 2 << 20}},
		{laneFlags{Rate: 50}, pipeline.Limits{Records: 50, Bytes: 8 << 20}},
		{laneFlags{Rate: 0.5}, pipeline.Limits{Records: 1, Bytes: 8 << 20}},
		{laneFlags{Rate: 1e6}, pipeline.Limits{Records: 1000, Bytes: 8 << 20}},
	} {
		if got := (&opener{flags: c.flags}).vectorLimits(to); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.flags, got, c.want)
		}
	}
}

// Metadata of an encrypted pgvector table never went through Open WebUI's
// process_metadata, which every other target's own client does.
func TestRawMetadataIsProcessed(t *testing.T) {
	plain, encrypted := env.Vector{Kind: env.PGVector}, env.Vector{Kind: env.PGVector, PG: env.PGVectorConfig{PGCrypto: true}}
	for _, c := range []struct {
		name     string
		from, to env.Vector
		want     bool
	}{
		{"encrypted to plain", encrypted, plain, true}, {"encrypted to Qdrant", encrypted, env.Vector{Kind: env.Qdrant}, true},
		{"encrypted to encrypted", encrypted, encrypted, false}, {"plain to encrypted", plain, encrypted, false},
		{"embedded Chroma to plain", env.Vector{Kind: env.Chroma}, plain, false}, {"no source, as for status", env.Vector{}, plain, false},
	} {
		to, ok := storeOf(c.to)
		if !ok {
			t.Fatalf("%s: no store", c.name)
		}
		if got := to.processes(c.from, c.to); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
