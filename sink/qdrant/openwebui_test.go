package qdrant

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "github.com/qdrant/go-client/qdrant"

	"outgrow/mappings/env"
	"outgrow/mappings/qdrant"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/qdrant"
	"outgrow/testdata/servers"
)

// owui runs Open WebUI's own Qdrant client.
type owui struct {
	t       *testing.T
	harness servers.OpenWebUI
	cfg     env.QdrantConfig
}

func (o owui) run(args ...string) {
	o.t.Helper()
	o.harness.RunKept(o.t, []string{"VECTOR_DB=qdrant", "QDRANT_URI=" + o.cfg.URI, "QDRANT_GRPC_PORT=" + strconv.Itoa(o.cfg.GRPCPort), "QDRANT_TIMEOUT=60",
		"QDRANT_COLLECTION_PREFIX=" + o.cfg.Prefix, "ENABLE_QDRANT_MULTITENANCY_MODE=" + strconv.FormatBool(o.cfg.Multitenancy)}, args...)
}

func recordOf(l servers.OpenWebUILine) *pipeline.Vector {
	return &pipeline.Vector{ID: l.ID, Text: l.Text, Metadata: l.Metadata, Embedding: l.Vector}
}

func byCollection(in []servers.OpenWebUILine) (out []pipetest.Expected[*pipeline.Vector]) {
	at := map[string]int{}
	for _, l := range in {
		i, ok := at[l.Collection]
		if !ok {
			i = len(out)
			at[l.Collection] = i
			out = append(out, pipetest.Expected[*pipeline.Vector]{})
		}
		out[i].Records = append(out[i].Records, recordOf(l))
		out[i].Unit = unit(l.Collection, out[i].Records...)
	}
	return out
}

// description is what the server says of a collection, without what changes by
// itself.
func description(t *testing.T, cfg env.QdrantConfig, name string) map[string]any {
	t.Helper()
	var d struct{ Result map[string]any }
	for deadline := time.Now().Add(5 * time.Minute); d.Result["status"] != "green"; time.Sleep(20 * time.Millisecond) { // its client waits for nothing
		reply, err := http.Get(cfg.URI + "/collections/" + name)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(reply.Body)
		_ = reply.Body.Close()
		if err != nil || json.Unmarshal(body, &d) != nil || d.Result == nil {
			t.Fatalf("%v: %s", err, body)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %v", name, d.Result["status"])
		}
	}
	delete(d.Result, "segments_count")
	delete(d.Result, "indexed_vectors_count")
	return d.Result
}

// Open WebUI writes a corpus under one prefix and outgrow the same records under
// another: collections, payloads, dumps and search results are the same, and
// outgrow reads what Open WebUI wrote.
func TestLayoutIsOpenWebUIs(t *testing.T) {
	o := owui{t: t, harness: servers.NewOpenWebUI(t, true)}
	dir := t.TempDir()
	corpus, queries := filepath.Join(dir, "corpus"), filepath.Join(dir, "queries")
	o.run("gen", corpus, "--n", "500", "--dim", "384")
	original := map[string][]float32{}
	var q []byte
	for i, l := range servers.OpenWebUILines(t, corpus) {
		original[l.ID] = l.Vector
		if i%14 == 0 {
			b, _ := json.Marshal(map[string]any{"collection": l.Collection, "vector": l.Vector})
			q = append(append(q, b...), '\n')
		}
	}
	if err := os.WriteFile(queries, q, 0o600); err != nil {
		t.Fatal(err)
	}
	both(t, func(t *testing.T, multitenancy bool) {
		a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
		theirs, ours := o, o
		theirs.t, ours.t = t, t
		theirs.cfg, ours.cfg = store(t, multitenancy), store(t, multitenancy)
		theirs.run("load", corpus)
		theirs.run("dump", "-o", a)
		dumped := servers.OpenWebUILines(t, a)
		if len(dumped) != 500 {
			t.Fatalf("%d records", len(dumped))
		}

		// Their client's records as they were given to it: whole vectors, and the
		// metadata that it makes of its input.
		given := servers.OpenWebUILines(t, a)
		for i, l := range given {
			given[i].Vector = original[l.ID]
		}
		src := pipetest.NewMemory(pipeline.Limits{Records: 100}, byCollection(given)...)
		j := begun(t)
		if err := pipeline.Copy(t.Context(), pipeline.Job[*pipeline.Vector]{Source: src, Sink: open(t, Config{Store: ours.cfg, Journal: j}), Journal: j, Transforms: transforms(ours.cfg)}); err != nil {
			t.Fatal(err)
		}
		verify(t, src, ours.cfg, j)
		verify(t, src, theirs.cfg, nil) // outgrow's reader on what their client wrote

		x, y := physical(t, theirs.cfg), physical(t, ours.cfg)
		if len(x) != len(y) || len(x) == 0 {
			t.Fatalf("%q, %q", x, y)
		}
		for i := range x {
			if strings.TrimPrefix(x[i], theirs.cfg.Prefix) != strings.TrimPrefix(y[i], ours.cfg.Prefix) {
				t.Errorf("%s and %s", x[i], y[i])
			}
			if m, n := description(t, theirs.cfg, x[i]), description(t, ours.cfg, y[i]); !reflect.DeepEqual(m, n) {
				t.Errorf("%s\n%v\n%v", y[i], m, n)
			}
			samePoints(t, theirs.cfg, x[i], y[i])
		}

		ours.run("dump", "-o", b)
		got := servers.OpenWebUILines(t, b)
		if len(got) != len(dumped) {
			t.Fatalf("%d records, not %d", len(got), len(dumped))
		}
		for i, w := range dumped {
			g := got[i]
			if w.Collection != g.Collection || w.ID != g.ID || !reflect.DeepEqual(w.Text, g.Text) || !reflect.DeepEqual(w.Vector, g.Vector) ||
				!(qdrant.SameMetadata(w.Metadata, g.Metadata) || qdrant.SameMetadata(g.Metadata, w.Metadata)) {
				t.Errorf("%s %s: %s\n%s", w.Collection, w.ID, w.Metadata, g.Metadata)
			}
		}

		theirs.run("search", queries, "-o", a+".s")
		ours.run("search", queries, "-o", b+".s")
		want, have := servers.OpenWebUILines(t, a+".s"), servers.OpenWebUILines(t, b+".s")
		r := openReader(t, reader.Config{Store: ours.cfg})
		asked := servers.OpenWebUILines(t, queries)
		if len(want) != 36 {
			t.Fatalf("%d searches", len(want))
		}
		for i, w := range want {
			if len(w.Ids) != 10 || !reflect.DeepEqual(w.Ids, have[i].Ids) || !reflect.DeepEqual(w.Scores, have[i].Scores) {
				t.Errorf("query %d: %v %v, not %v %v", i, have[i].Ids, have[i].Scores, w.Ids, w.Scores)
			}
			for _, exact := range []bool{false, true} {
				hits, err := r.Search(t.Context(), unit(w.Collection), [][]float32{asked[i].Vector}, 10, exact)
				if err != nil || len(hits) != 1 || len(hits[0]) != 10 {
					t.Fatalf("%v, %v", hits, err)
				}
				for k, h := range hits[0] {
					if h.ID != w.Ids[k] || math.Abs(h.Score-w.Scores[k]) > 1e-6 {
						t.Errorf("query %d, hit %d: %+v, not %s %g", i, k, h, w.Ids[k], w.Scores[k])
					}
				}
			}
		}
	})
}

func physical(t *testing.T, cfg env.QdrantConfig) (out []string) {
	t.Helper()
	conn, err := qdrant.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	found, err := conn.Find(t.Context(), cfg.Prefix)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		out = append(out, f.Physical)
	}
	return out
}

// samePoints compares ids and whole payloads, unknown keys included.
func samePoints(t *testing.T, cfg env.QdrantConfig, a, b string) {
	t.Helper()
	conn, err := qdrant.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	read := func(name string) []*pb.RetrievedPoint {
		reply, err := conn.Points.Scroll(t.Context(), &pb.ScrollPoints{CollectionName: name, Limit: new(uint32(1000)), WithPayload: pb.NewWithPayload(true)})
		if err != nil {
			t.Fatal(err)
		}
		return reply.GetResult()
	}
	x, y := read(a), read(b)
	if len(x) != len(y) || len(x) == 0 {
		t.Fatalf("%s has %d points, %s has %d", a, len(x), b, len(y))
	}
	for i := range x {
		m, n := qdrant.JSON(pb.NewValueFromFields(x[i].GetPayload())), qdrant.JSON(pb.NewValueFromFields(y[i].GetPayload()))
		if x[i].GetId().GetUuid() != y[i].GetId().GetUuid() || !(qdrant.SameMetadata(m, n) || qdrant.SameMetadata(n, m)) {
			t.Errorf("%v %s\n%v %s", x[i].GetId(), m, y[i].GetId(), n)
		}
	}
}
