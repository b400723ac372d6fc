package pgvector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"outgrow/mappings/pg"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

// Reasons of the findings.
const (
	Extension  pipeline.Reason = "pgvector-extension"
	Dimension  pipeline.Reason = "vector-dimension"
	Layout     pipeline.Reason = "pgvector-layout"
	Crypto     pipeline.Reason = "pgcrypto"
	InUse      pipeline.Reason = "in-use"
	NoRows     pipeline.Reason = "no-rows"
	HalfVector pipeline.Reason = "halfvec"
)

// Check looks at the target and the units' dimensions.
func (s *Sink) Check(ctx context.Context, units []pipeline.Unit) ([]pipeline.Finding, error) {
	f, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	out := append(s.serverFindings(f), s.layoutFindings(f)...)
	out = append(out, s.dimensions(units)...)
	more, err := s.rowsFinding(ctx)
	if err != nil {
		return nil, err
	}
	out = append(out, more...)
	u, err := s.usage(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case s.cfg.Replace && u.rows > 0:
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: InUse, Count: u.rows,
			Text: fmt.Sprintf("--replace deletes the %d records of document_chunk, unless this very run is under way", u.rows)})
	case u.foreign > 0 && !u.complete:
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: InUse, Text: fmt.Sprintf("%v: %d of %d", ErrInUse, u.foreign, u.rows), Fix: inUseFix, Count: u.foreign})
	}
	return out, nil
}

// serverFindings are about extension and rights.
func (s *Sink) serverFindings(f facts) (out []pipeline.Finding) {
	switch {
	case f.installed != "" && !f.visible:
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: Extension, Text: "the extension vector is in a schema that the search_path does not name",
			Fix: "run as superuser: ALTER EXTENSION vector SET SCHEMA " + s.schema + ", or add its schema to the role's search_path"})
	case f.installed != "":
	case f.available == "":
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: Extension, Text: "the server does not have pgvector", Fix: f.extensionFix()})
	case !s.cfg.PG.CreateExtension || !f.mayExtend:
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: Extension, Text: "the extension vector is missing and this role may not create it", Fix: f.extensionFix()})
	default:
		out = append(out, pipeline.Finding{Severity: pipeline.Note, Reason: Extension, Text: "the extension vector " + f.available + " will be created"})
	}
	switch {
	case !s.layout.Crypto || f.crypto:
	case !f.hasCrypto:
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: Crypto, Text: "the server does not have pgcrypto, which PGVECTOR_PGCRYPTO needs", Fix: "install PostgreSQL's contrib package on the database server"})
	default:
		out = append(out, pipeline.Finding{Severity: pipeline.Note, Reason: Crypto, Text: "the extension pgcrypto will be created"})
	}
	if f.encoding != "UTF8" {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: Layout, Text: "the database's encoding is " + f.encoding, Fix: "create it with ENCODING 'UTF8' TEMPLATE template0"})
	}
	if !f.table && !f.mayCreate {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: Layout, Text: "this role may not create tables in schema " + s.schema,
			Fix: "GRANT CREATE ON SCHEMA " + pg.Ident(s.schema) + " TO the role of the URL"})
	}
	return out
}

// layoutFindings compare the table that is there, and the extension's version,
// with what the variables ask for.
func (s *Sink) layoutFindings(f facts) (out []pipeline.Finding) {
	refuse := func(reason pipeline.Reason, fix, format string, args ...any) {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: reason, Text: fmt.Sprintf(format, args...), Fix: fix})
	}
	l := s.layout
	version := f.installed
	if version == "" {
		version = f.available
	}
	if l.HalfVec && olderThan(version, 0, 7) {
		refuse(Extension, "update pgvector to 0.7 or later: ALTER EXTENSION vector UPDATE", "PGVECTOR_USE_HALFVEC needs pgvector 0.7, the server has %s", version)
	}
	if l.Method == vectors.HNSW && olderThan(version, 0, 5) {
		refuse(Extension, "update pgvector to 0.5 or later: ALTER EXTENSION vector UPDATE", "an hnsw index needs pgvector 0.5, the server has %s", version)
	}
	if l.MaxLength > vectors.MaxVector && !l.HalfVec {
		refuse(Dimension, "set PGVECTOR_USE_HALFVEC=true", "PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH=%d is above %d, which Open WebUI starts with only for halfvec", l.MaxLength, vectors.MaxVector)
	} else if l.MaxLength > vectors.MaxHalfVec {
		refuse(Dimension, "use an embedding model with fewer dimensions or another vector store", "%d dimensions are more than pgvector can index (%d)", l.MaxLength, vectors.MaxHalfVec)
	}
	if !f.table {
		return out
	}
	for name, want := range map[string]string{"id": "text", "collection_name": "text", "text": l.TextType(), "vmetadata": l.MetadataType()} {
		switch got := f.columns[name]; {
		case got == "bytea" && want != got:
			refuse(Layout, "set PGVECTOR_PGCRYPTO=true and PGVECTOR_PGCRYPTO_KEY if the table is to stay encrypted, or name another database", "column %s of document_chunk is encrypted, PGVECTOR_PGCRYPTO is not true", name)
		case want == "bytea" && got != want:
			refuse(Layout, "set PGVECTOR_PGCRYPTO=false, or name another database", "column %s of document_chunk is %s, not encrypted as PGVECTOR_PGCRYPTO asks for", name, orNone(got))
		case got != want:
			refuse(Layout, "name another database, or drop that table", "column %s of document_chunk is %s, not %s", name, orNone(got), want)
		}
	}
	if f.key != "id" {
		refuse(Layout, "name another database, or drop that table", "the primary key of document_chunk is (%s), not (id)", f.key)
	}
	if !f.mine {
		refuse(Layout, fmt.Sprintf("ALTER TABLE %s OWNER TO the role of the URL", s.table), "document_chunk belongs to another role: its indexes cannot be taken away for the load")
	}
	out = append(out, s.startFindings(f)...)
	slices.SortStableFunc(out, func(a, b pipeline.Finding) int { return strings.Compare(a.Text, b.Text) })
	return out
}

// startFindings are about what Open WebUI itself looks at when it starts.
func (s *Sink) startFindings(f facts) (out []pipeline.Finding) {
	l := s.layout
	if got := f.columns["vector"]; !l.SameType(got) {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: Dimension,
			Text: fmt.Sprintf("column vector of document_chunk is %s, the variables ask for %s: Open WebUI would refuse to start", orNone(got), l.ColumnType()),
			Fix:  fmt.Sprintf("set PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH and PGVECTOR_USE_HALFVEC as the column is, or drop the table: DROP TABLE %s", s.table)})
	}
	for _, x := range f.indexes {
		if x.Name != vectors.VectorIndex {
			continue
		}
		if x.Method != l.Method {
			out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: Layout,
				Text: fmt.Sprintf("index %s is %s, the variables ask for %s: Open WebUI would refuse to start", x.Name, x.Method, l.Method),
				Fix:  fmt.Sprintf("set PGVECTOR_INDEX_METHOD=%s, or DROP INDEX %s", x.Method, pg.Ident(s.schema, x.Name))})
		} else if x.OpClass != l.OpClass() {
			out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: Layout, Text: fmt.Sprintf("index %s is of class %s: Open WebUI searches with %s and never uses it", x.Name, x.OpClass, l.OpClass()),
				Fix: "DROP INDEX " + pg.Ident(s.schema, x.Name) + ", then run this again"})
		}
	}
	return out
}

// Fits is an error when the target's table is not as the variables say, so that Open
// WebUI would not start on it. It writes nothing; no table is no error.
func (s *Sink) Fits(ctx context.Context) error {
	f, err := s.look(ctx)
	if err != nil || !f.table {
		return err
	}
	for _, x := range s.startFindings(f) {
		if x.Severity == pipeline.Refuse {
			return pipeline.Usage("looking at the target of the vectors", errors.New(x.Text), x.Fix)
		}
	}
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "missing"
	}
	return s
}

func (s *Sink) dimensions(units []pipeline.Unit) (out []pipeline.Finding) {
	seen := map[int]int{}
	for _, u := range units {
		if u.Dim > 0 {
			seen[u.Dim]++
		}
		if u.Dim > s.layout.MaxLength {
			out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: Dimension, Unit: u.ID(), Count: u.Records,
				Text: fmt.Sprintf("%s has %d dimensions, PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH is %d: Open WebUI would cut the vectors off", u.Title(), u.Dim, s.layout.MaxLength), Fix: lengthFix(u.Dim)})
		}
	}
	if len(seen) > 1 {
		var dims []int
		for d := range seen {
			dims = append(dims, d)
		}
		slices.Sort(dims)
		var b strings.Builder
		for i, d := range dims {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%d collections with %d dimensions", seen[d], d)
		}
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: Dimension, Text: "several embedding models made these vectors: " + b.String(),
			Fix: "queries by the present model find nothing sensible in the others: reindex those knowledge bases in Open WebUI"})
	}
	if s.layout.HalfVec {
		out = append(out, pipeline.Finding{Severity: pipeline.Note, Reason: HalfVector, Text: "halfvec rounds every vector to half precision (PGVECTOR_USE_HALFVEC)"})
	}
	return out
}

func lengthFix(dim int) string {
	fix := fmt.Sprintf("set PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH=%d on the target", dim)
	if dim > vectors.MaxVector {
		fix += " and PGVECTOR_USE_HALFVEC=true"
	}
	return fix
}

// rowsFinding refuses vectors for a database whose rows are neither there nor
// on their way. A database of its own (PGVECTOR_DB_URL) has none.
func (s *Sink) rowsFinding(ctx context.Context) ([]pipeline.Finding, error) {
	if s.cfg.RowsHere || s.cfg.PG.OwnURL {
		return nil, nil
	}
	schema := s.cfg.Schema
	if schema == "" {
		schema = s.schema
	}
	var has bool
	if err := s.pool.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", pg.Ident(schema, "alembic_version")).Scan(&has); err != nil {
		return nil, pg.Classify("looking for Open WebUI's tables", err)
	}
	if has {
		return nil, nil
	}
	return []pipeline.Finding{{Severity: pipeline.Refuse, Reason: NoRows, Text: "the vectors' database has no Open WebUI tables (no alembic_version): a first start there would find vectors without rows",
		Fix: "move the rows in the same run, or before"}}, nil
}
