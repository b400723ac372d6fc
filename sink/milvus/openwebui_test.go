package milvus

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/encoding/protojson"

	"outgrow/mappings/env"
	layout "outgrow/mappings/milvus"
	"outgrow/pipeline"
	reader "outgrow/source/milvus"
	"outgrow/testdata/servers"
)

// owui runs Open WebUI's own Milvus clients.
type owui struct {
	t       *testing.T
	harness servers.OpenWebUI
	cfg     env.MilvusConfig
}

func (o owui) run(args ...string) {
	o.t.Helper()
	o.harness.RunKept(o.t, []string{"VECTOR_DB=milvus", "MILVUS_URI=" + o.cfg.URI, "MILVUS_DB=" + o.cfg.Database, "MILVUS_INDEX_TYPE=" + o.cfg.IndexType,
		"ENABLE_MILVUS_MULTITENANCY_MODE=" + strconv.FormatBool(o.cfg.Multitenancy)}, args...)
}

// described is what the server says of a collection, without its numbers.
func described(t *testing.T, s *layout.Store, name string) string {
	t.Helper()
	res, err := s.Service.DescribeCollection(t.Context(), &milvuspb.DescribeCollectionRequest{CollectionName: name})
	if err := layout.Check("describing", res, err); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	schema := res.GetSchema()
	schema.DbName = ""
	for _, f := range schema.GetFields() {
		slices.SortFunc(f.GetTypeParams(), func(a, b *commonpb.KeyValuePair) int { return strings.Compare(a.GetKey(), b.GetKey()) })
	}
	raw, err := protojson.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	var plain any // protojson varies its blanks
	if err := json.Unmarshal(raw, &plain); err != nil {
		t.Fatal(err)
	}
	raw, _ = json.Marshal(plain)
	b.Write(raw)
	more, _ := json.Marshal([]any{res.GetShardsNum(), res.GetConsistencyLevel(), res.GetNumPartitions(), res.GetProperties()})
	b.Write(more)
	idx, err := s.Service.DescribeIndex(t.Context(), &milvuspb.DescribeIndexRequest{CollectionName: name})
	if err := layout.Check("describing indexes", idx, err); err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, d := range idx.GetIndexDescriptions() {
		params := []string{d.GetFieldName(), d.GetIndexName()}
		for _, p := range d.GetParams() {
			params = append(params, p.GetKey()+"="+strings.ReplaceAll(p.GetValue(), " ", ""))
		}
		slices.Sort(params[2:])
		list = append(list, strings.Join(params, " "))
	}
	slices.Sort(list)
	return b.String() + strings.Join(list, "; ")
}

// stored gives every row of a collection as the server holds it.
func stored(t *testing.T, s *layout.Store, name string) (out []string) {
	t.Helper()
	if err := s.Load(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	c, err := s.Look(t.Context(), name)
	if err != nil || c == nil {
		t.Fatal(name, err)
	}
	fields := []string{}
	for _, f := range c.Schema.GetFields() {
		if f.GetName() != layout.FieldSparse {
			fields = append(fields, f.GetName())
		}
	}
	if c.Schema.GetEnableDynamicField() {
		fields = append(fields, "$meta")
	}
	res, err := s.Service.Query(t.Context(), &milvuspb.QueryRequest{CollectionName: name, Expr: `id >= ""`, OutputFields: fields})
	if err := layout.Check("reading", res, err); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(res.FieldsData, func(a, b *schemapb.FieldData) int { return strings.Compare(a.GetFieldName(), b.GetFieldName()) })
	ids := []string{}
	for _, f := range res.GetFieldsData() {
		if f.GetFieldName() == layout.FieldID {
			ids = f.GetScalars().GetStringData().GetData()
		}
	}
	for i, id := range ids {
		row := id
		for _, f := range res.GetFieldsData() {
			row += "|" + f.GetFieldName() + "="
			if d := f.GetScalars().GetStringData().GetData(); d != nil {
				row += d[i]
			}
			if d := f.GetScalars().GetJsonData().GetData(); d != nil {
				row += string(d[i])
			}
			if v := f.GetVectors(); v != nil {
				n := int(v.GetDim())
				raw, _ := json.Marshal(v.GetFloatVector().GetData()[i*n : (i+1)*n])
				row += string(raw)
			}
		}
		out = append(out, row)
	}
	slices.Sort(out)
	return out
}

// Open WebUI writes a corpus into one database and outgrow copies it into
// another: schemas, indexes, stored bytes, dumps and search results are the
// same, and outgrow's own search gives them too.
func TestLayoutIsOpenWebUIs(t *testing.T) {
	base := owui{t: t, harness: servers.NewOpenWebUI(t, true)}
	dir := t.TempDir()
	corpus, queries := filepath.Join(dir, "corpus"), filepath.Join(dir, "queries")
	base.run("gen", corpus, "--n", "500", "--dim", "64")
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			theirs, ours := base, base
			theirs.t, ours.t = t, t
			theirs.cfg, ours.cfg = store(t, k.server, k.shared), store(t, k.server, k.shared)
			theirs.run("load", corpus)
			src := openReader(t, reader.Config{Store: theirs.cfg})
			sink := open(t, Config{Store: ours.cfg})
			copied(t, src, sink, layout.Transform(ours.cfg, layout.Options{Layout: sink.Layout()}))

			a, b := src2store(t, theirs.cfg), src2store(t, ours.cfg)
			names, err := a.Names(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if again, err := b.Names(t.Context()); err != nil || !slices.Equal(names, again) || len(names) < 5 {
				t.Errorf("collections %q, not %q (%v)", again, names, err)
			}
			rows := 0
			for _, n := range names {
				if x, y := described(t, a, n), described(t, b, n); x != y {
					t.Errorf("%s is\n%s\nnot\n%s", n, y, x)
				}
				x, y := stored(t, a, n), stored(t, b, n)
				rows += len(x)
				if len(x) != len(y) {
					t.Errorf("%s: %d rows, not %d", n, len(y), len(x))
				}
				for i := range min(len(x), len(y)) {
					if x[i] != y[i] {
						t.Errorf("%s: stored\n%.600s\nnot\n%.600s", n, y[i], x[i])
						break
					}
				}
			}
			if rows != 500 {
				t.Errorf("%d rows", rows)
			}
			sameDumps(t, theirs, ours, filepath.Join(dir, k.name))
			sameSearches(t, theirs, ours, src, corpus, queries, filepath.Join(dir, k.name))
		})
	}
}

func src2store(t *testing.T, cfg env.MilvusConfig) *layout.Store {
	t.Helper()
	s, err := layout.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// copied copies everything, without the engine.
func copied(t *testing.T, src *reader.Source, sink *Sink, tr pipeline.Transform[*pipeline.Vector]) {
	t.Helper()
	units, err := src.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		if err := sink.Prepare(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		for b, err := range src.Read(t.Context(), pipeline.Part{Unit: u}, "") {
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range b.Records {
				out, changes, refused := tr(u, v)
				if len(changes) > 0 || len(refused) > 0 {
					t.Errorf("%s %s: %v %v", u.Name, v.ID, changes, refused)
					continue
				}
				b.Records[i] = out
			}
			if out, err := sink.Write(t.Context(), b); err != nil || out.Written != len(b.Records) {
				t.Fatalf("%s: %+v, %v", u.Name, out, err)
			}
		}
	}
	if _, err := sink.Finish(t.Context(), func(string) {}); err != nil {
		t.Fatal(err)
	}
}

// near allows for the last of six digits: servers add up in several threads.
func near(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Abs(x-y) < 2e-6 })
}

func sameDumps(t *testing.T, theirs, ours owui, at string) {
	t.Helper()
	theirs.run("dump", "-o", at+".a")
	ours.run("dump", "-o", at+".b")
	x, _ := os.ReadFile(at + ".a")
	y, err := os.ReadFile(at + ".b")
	if err != nil || len(x) == 0 || !bytes.Equal(x, y) {
		t.Errorf("dumps of %d and %d bytes, %v", len(x), len(y), err)
	}
	if n := len(servers.OpenWebUILines(t, at+".b")); n != 500 {
		t.Errorf("%d records in the dump", n)
	}
}

func sameSearches(t *testing.T, theirs, ours owui, src *reader.Source, corpus, queries, at string) {
	t.Helper()
	var q []byte
	var asked []servers.OpenWebUILine
	for i, l := range servers.OpenWebUILines(t, corpus) {
		if i%14 == 0 {
			raw, _ := json.Marshal(map[string]any{"collection": l.Collection, "vector": l.Vector})
			q, asked = append(append(q, raw...), '\n'), append(asked, l)
		}
	}
	if err := os.WriteFile(queries, q, 0o600); err != nil {
		t.Fatal(err)
	}
	theirs.run("search", queries, "-o", at+".sa")
	ours.run("search", queries, "-o", at+".sb")
	want, got := servers.OpenWebUILines(t, at+".sa"), servers.OpenWebUILines(t, at+".sb")
	if len(want) != 36 || len(got) != 36 {
		t.Fatalf("%d and %d searches", len(want), len(got))
	}
	for i, w := range want {
		if len(w.Ids) != 10 || !slices.Equal(w.Ids, got[i].Ids) || !near(w.Scores, got[i].Scores) {
			t.Errorf("search %d gives %v %v, not %v %v", i, got[i].Ids, got[i].Scores, w.Ids, w.Scores)
		}
		for _, exact := range []bool{false, true} {
			hits, err := src.Search(t.Context(), pipeline.Unit{Name: asked[i].Collection}, [][]float32{asked[i].Vector}, 10, exact)
			if err != nil || len(hits) != 1 || len(hits[0]) != len(w.Ids) {
				t.Errorf("our search %d (exact %v): %v, %v", i, exact, hits, err)
				continue
			}
			for j, h := range hits[0] {
				score := w.Scores[j]
				if ours.cfg.Multitenancy {
					score = (score + 1) / 2
				}
				if h.ID != w.Ids[j] || math.Abs(h.Score-score) > 1e-5 {
					t.Errorf("our search %d, hit %d (exact %v): %+v, not %s %g", i, j, exact, h, w.Ids[j], score)
				}
			}
		}
	}
}
