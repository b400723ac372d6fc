package milvus

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	layout "outgrow/mappings/milvus"
	"outgrow/pipeline"
	reader "outgrow/source/milvus"
	"outgrow/testdata/servers"
)

func batch(u pipeline.Unit, records ...*pipeline.Vector) pipeline.Batch[*pipeline.Vector] {
	return pipeline.Batch[*pipeline.Vector]{Part: pipeline.Part{Unit: u}, Records: records}
}

// found lists severity and reason of findings, sorted.
func found(t *testing.T, c pipeline.Checker, units ...pipeline.Unit) (out []string, all []pipeline.Finding) {
	t.Helper()
	all, err := c.Check(t.Context(), units)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		out = append(out, fmt.Sprintf("%s %s", f.Severity, f.Reason))
		if f.Text == "" || f.Fix == "" && f.Severity != pipeline.Note {
			t.Errorf("finding without text or fix: %+v", f)
		}
	}
	slices.Sort(out)
	return out, all
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, not %q", what, got, want)
	}
}

func TestCheck(t *testing.T) {
	for _, k := range kinds[:4] {
		t.Run(k.name, func(t *testing.T) {
			cfg := store(t, k.server, k.shared)
			s := open(t, Config{Store: cfg})
			kb, other := unit("kb", 8, 10), unit("other", 9, 10)
			got, _ := found(t, s, kb, unit("file-x", 9, 10))
			expect(t, "an empty target", got)
			got, all := found(t, s, kb, other, unit("a.b", 8, 1), unit("a_b", 8, 1), unit("a-b", 8, 1))
			if k.shared {
				expect(t, "two dimensions in a class", got, "refuse collection-name", "refuse vector-dimension")
				for _, f := range all {
					if f.Reason == Dimension && (!strings.Contains(f.Text, "8 dimensions") || !strings.Contains(f.Text, "9 dimensions")) {
						t.Errorf("it names not both: %s", f.Text)
					}
				}
			} else {
				expect(t, "names", got, "refuse collection-name", "refuse collection-name")
			}
			if err := s.Prepare(t.Context(), unit("a.b", 8, 1)); pipeline.ExitCode(err) != pipeline.ExitUsage {
				t.Errorf("a bad name is prepared: %v", err)
			}
			if err := s.Prepare(t.Context(), kb); err != nil {
				t.Fatal(err)
			}
			got, _ = found(t, s, kb)
			expect(t, "an empty collection", got)
			got, all = found(t, s, unit("kb", 12, 3))
			expect(t, "another dimension", got, "refuse vector-dimension")
			if len(all) == 1 && (!strings.Contains(all[0].Text, "12") || !strings.Contains(all[0].Text, "8")) {
				t.Errorf("it names not both: %s", all[0].Text)
			}
			if err := s.Prepare(t.Context(), unit("kb", 12, 3)); pipeline.ExitCode(err) != pipeline.ExitUsage {
				t.Errorf("another dimension is prepared: %v", err)
			}
			if _, err := s.Write(t.Context(), batch(kb, records(5, 8, 1)...)); err != nil {
				t.Fatal(err)
			}
			// What Open WebUI has left of a rewrite, and another deployment's.
			store := src2store(t, cfg)
			for _, name := range []string{"open_webui_knowledge_bm25_staging", "elsewhere_files"} {
				if err := store.Create(t.Context(), name, 8); err != nil {
					t.Fatal(err)
				}
			}
			got, all = found(t, s, kb)
			expect(t, "in use", got, "refuse in-use", "warn bm25-staging")
			for _, f := range all {
				if f.Reason == InUse && f.Count != 5 {
					t.Errorf("%+v", f)
				}
			}
			changed := cfg
			changed.MetricType, changed.IndexType = "L2", "FLAT"
			got, _ = found(t, open(t, Config{Store: changed}), kb)
			switch {
			case k.shared:
				expect(t, "another metric", got, "note milvus-layout", "refuse in-use", "refuse milvus-layout", "warn bm25-staging")
			default:
				expect(t, "another metric", got, "note milvus-layout", "refuse in-use", "warn bm25-staging", "warn milvus-layout")
			}
			first, err := s.Fingerprint(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Empty(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.Empty(t.Context()); err != nil {
				t.Fatal(err)
			}
			names, err := store.Names(t.Context())
			if err != nil || !slices.Equal(names, []string{"elsewhere_files"}) {
				t.Errorf("left: %q, %v", names, err)
			}
			got, _ = found(t, s, kb)
			expect(t, "emptied", got)
			if out, err := s.Write(t.Context(), batch(kb, records(5, 8, 1)...)); err != nil || out.Written != 5 {
				t.Errorf("after emptying: %+v, %v", out, err)
			}
			second, err := open(t, Config{Store: cfg}).Fingerprint(t.Context())
			if err != nil || first != second || strings.Contains(first, cfg.Address) {
				t.Errorf("fingerprints %q, %q, %v", first, second, err)
			}
			t.Log(first)
		})
	}
}

// Collections of both layouts under one prefix: each sees its own.
func TestLayoutsSideBySide(t *testing.T) {
	cfg := store(t, servers.MilvusLite, true)
	plain := cfg
	plain.Multitenancy = false
	shared, flat := open(t, Config{Store: cfg}), open(t, Config{Store: plain})
	for _, s := range []*Sink{shared, flat} {
		if _, err := s.Write(t.Context(), batch(unit("kb", 8, 5), records(5, 8, 1)...)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []reader.Config{{Store: cfg}, {Store: plain}} {
		units, err := openReader(t, c).Units(t.Context())
		if err != nil || len(units) != 1 || units[0].Name != "kb" || units[0].Records != 5 || units[0].Dim != 8 || units[0].Bytes < 100 {
			t.Errorf("%+v, %v", units, err)
		}
	}
	// A logical name whose place a shared collection has.
	if err := flat.Prepare(t.Context(), unit("knowledge", 8, 1)); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("a shared collection is written to: %v", err)
	}
	if err := flat.Empty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := openReader(t, reader.Config{Store: cfg}).Count(t.Context(), unit("kb", 8, 5)); err != nil || n != 5 {
		t.Errorf("emptying one layout left %d of the other, %v", n, err)
	}
}

// Two logical collections of a class hold one id: the second is refused, and
// the first keeps its record.
func TestIDOfAnother(t *testing.T) {
	cfg := store(t, servers.MilvusReal, true)
	s := open(t, Config{Store: cfg})
	list := records(3, 8, 1)
	if _, err := s.Write(t.Context(), batch(unit("kb1", 8, 3), list...)); err != nil {
		t.Fatal(err)
	}
	out, err := s.Write(t.Context(), batch(unit("kb2", 8, 4), append(records(1, 8, 9), list[1:]...)...))
	if err != nil || out.Written != 0 && out.Written != 1 || len(out.Refused) < 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	for _, r := range out.Refused {
		if r.Reason != pipeline.Duplicate || !strings.Contains(r.Detail, "kb1") {
			t.Errorf("%+v", r)
		}
	}
	if n, err := openReader(t, reader.Config{Store: cfg}).Count(t.Context(), unit("kb1", 8, 3)); err != nil || n != 3 {
		t.Errorf("%d left, %v", n, err)
	}
	if out, err := s.Write(t.Context(), batch(unit("file-1", 8, 3), list...)); err != nil || out.Written != 3 {
		t.Errorf("another class: %+v, %v", out, err)
	}
}

// The longest that a real server takes, byte by byte.
func TestLimitsAreTheServers(t *testing.T) {
	vec := []float32{1, 2, 3, 4}
	longMeta := func(n int) []byte { return []byte(`{"a":"` + strings.Repeat("y", n-8) + `"}`) }
	for _, shared := range []bool{false, true} {
		cfg := store(t, servers.MilvusReal, shared)
		s, u := open(t, Config{Store: cfg}), unit("kb", 4, 10)
		if err := s.Prepare(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		store := src2store(t, cfg)
		c, err := store.Look(t.Context(), layout.Physical(cfg, "kb"))
		if err != nil || c == nil {
			t.Fatal(err)
		}
		texts := map[int]bool{65525: true, 65526: shared, 65535: shared, 65536: false}
		for n, fits := range texts {
			v := &pipeline.Vector{ID: fmt.Sprintf("t%d", n), Text: text(strings.Repeat("x", n)), Metadata: []byte(`{}`), Embedding: vec}
			_, reason, _ := layout.Refuses(cfg, store.Layout, "kb", v)
			err := store.Upsert(t.Context(), c, "kb", []*pipeline.Vector{v})
			if (err == nil) != fits || (reason == "") != fits || err != nil && !layout.Rejected(err) {
				t.Errorf("shared %v, a text of %d bytes: %v, refused for %q", shared, n, err, reason)
			}
		}
		for n, fits := range map[int]bool{65536: true, 65537: false} {
			v := &pipeline.Vector{ID: fmt.Sprintf("m%d", n), Text: text("t"), Metadata: longMeta(n), Embedding: vec}
			_, reason, _ := layout.Refuses(cfg, store.Layout, "kb", v)
			err := store.Upsert(t.Context(), c, "kb", []*pipeline.Vector{v})
			if (err == nil) != fits || (reason == "") != fits {
				t.Errorf("shared %v, metadata of %d bytes: %v, refused for %q", shared, n, err, reason)
			}
		}
		for n, fits := range map[int]bool{36: true, 37: !shared} {
			v := &pipeline.Vector{ID: strings.Repeat("i", n), Text: text("t"), Metadata: []byte(`{}`), Embedding: vec}
			err := store.Upsert(t.Context(), c, "kb", []*pipeline.Vector{v})
			if (err == nil) != fits {
				t.Errorf("shared %v, an id of %d bytes: %v", shared, n, err)
			}
		}
		// A zero vector is stored.
		zero := &pipeline.Vector{ID: "zero", Text: text("t"), Metadata: []byte(`{}`), Embedding: make([]float32, 4)}
		if out, err := s.Write(t.Context(), batch(u, zero)); err != nil || out.Written != 1 {
			t.Errorf("zero vector: %+v, %v", out, err)
		}
		// A batch far beyond the 64 MB of one request.
		var list []*pipeline.Vector
		for i := range 1200 {
			list = append(list, &pipeline.Vector{ID: fmt.Sprintf("b%d", i), Text: text(strings.Repeat("é", 30_000)), Metadata: []byte(`{}`), Embedding: vec})
		}
		if out, err := s.Write(t.Context(), batch(u, list...)); err != nil || out.Written != 1200 {
			t.Errorf("72 MB: %+v, %v", out.Written, err)
		}
	}
}

// Rows that Open WebUI has inserted twice are one record.
func TestInsertedTwice(t *testing.T) {
	for _, shared := range []bool{false, true} {
		cfg := store(t, servers.MilvusReal, shared)
		store, list := src2store(t, cfg), records(40, 8, 1)
		u := unit("kb-with-hyphens", 8, 40)
		fill(t, open(t, Config{Store: cfg}), nil)
		if err := store.Create(t.Context(), layout.Physical(cfg, u.Name), 8); err != nil {
			t.Fatal(err)
		}
		c, err := store.Look(t.Context(), layout.Physical(cfg, u.Name))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			insert(t, store, c, u.Name, list)
		}
		src := openReader(t, reader.Config{Store: cfg})
		units, err := src.Units(t.Context())
		if err != nil || len(units) != 1 {
			t.Fatal(units, err)
		}
		n, err := src.Count(t.Context(), units[0])
		if err != nil || n != 40 {
			t.Errorf("shared %v: %d counted, %v", shared, n, err)
		}
		read := 0
		for b, err := range src.Read(t.Context(), pipeline.Part{Unit: units[0]}, "") {
			if err != nil {
				t.Fatal(err)
			}
			read += len(b.Records)
		}
		if read != 40 {
			t.Errorf("shared %v: %d read", shared, read)
		}
		got, all := found(t, src, units...)
		if shared {
			expect(t, "twice", got, "warn inserted-twice")
		} else {
			expect(t, "twice", got, "warn collection-name", "warn inserted-twice")
		}
		for _, f := range all {
			if f.Reason == reader.Twice && f.Count != 40 {
				t.Errorf("%+v", f)
			}
		}
	}
}

// insert writes as Open WebUI's client does, by Insert.
func insert(t *testing.T, s *layout.Store, c *layout.Collection, logical string, list []*pipeline.Vector) {
	t.Helper()
	up := layout.Request(c, logical, list)
	res, err := s.Service.Insert(t.Context(), &milvuspb.InsertRequest{CollectionName: up.CollectionName, FieldsData: up.FieldsData, NumRows: up.NumRows})
	if err := layout.Check("inserting", res, err); err != nil {
		t.Fatal(err)
	}
}

// What is under our names and not of Open WebUI's making is reported, and what
// its own old layout is is read and written on a newer server.
func TestForeignAndOlder(t *testing.T) {
	cfg := store(t, servers.MilvusBM25, false)
	store := src2store(t, cfg)
	raw, err := proto.Marshal(&schemapb.CollectionSchema{Name: "open_webui_mine", Fields: []*schemapb.FieldSchema{
		{Name: "pk", DataType: schemapb.DataType_Int64, IsPrimaryKey: true},
		{Name: "v", DataType: schemapb.DataType_FloatVector, TypeParams: []*commonpb.KeyValuePair{{Key: "dim", Value: "4"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := store.Service.CreateCollection(t.Context(), &milvuspb.CreateCollectionRequest{CollectionName: "open_webui_mine", Schema: raw}); err != nil || res.GetCode() != 0 {
		t.Fatal(res, err)
	}
	store.Layout.BM25 = false
	if err := store.Create(t.Context(), "open_webui_older", 8); err != nil {
		t.Fatal(err)
	}
	s, list := open(t, Config{Store: cfg}), records(20, 8, 1)
	if !s.Layout().BM25 {
		t.Fatal("the server does not count as 2.5")
	}
	got, _ := found(t, s, unit("older", 8, 20))
	expect(t, "target", got, "note milvus-layout", "refuse milvus-layout")
	for _, name := range []string{"older", "newer"} {
		if out, err := s.Write(t.Context(), batch(unit(name, 8, 20), list...)); err != nil || out.Written != 20 {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
	src := openReader(t, reader.Config{Store: cfg})
	for _, name := range []string{"older", "newer"} {
		have, err := src.Get(t.Context(), unit(name, 8, 20), []string{list[0].ID, list[15].ID})
		if err != nil || len(have) != 2 || !same(list[15], have[list[15].ID]) {
			t.Errorf("%s: %v, %v", name, have, err)
		}
	}
	got, _ = found(t, src)
	expect(t, "source", got, "warn foreign")
	before, err := src.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), unit("newer", 8, 20), []string{list[0].ID}); err != nil {
		t.Fatal(err)
	}
	after, err := src.Identity(t.Context())
	if err != nil || before.Stable != after.Stable || before.State == after.State {
		t.Errorf("%+v, then %+v, %v", before, after, err)
	}
	t.Log(before)
}
