package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/mappings/schema"
	"outgrow/pipeline"
)

// Marks in the journal. What is away for the load is named by a mark until it
// is back: "without:index:NAME", "without:fk:TABLE.NAME", "without:alembic_version".
const (
	without      = "without:"
	markIndex    = without + "index:"
	markKey      = without + "fk:"
	markVersion  = without + versionTable // value: the head
	markPrepared = "prepared"             // value: "created" or "adopted"
	markSettled  = "orphans-settled"
	markFinished = "finished"
	markComplete = "complete" // value: the head
)

// index is the value of a "without:index:" mark.
type index struct {
	Table string `json:"table"`
	SQL   string `json:"sql"` // CREATE INDEX …
}

// foreignKey is the value of a "without:fk:" mark.
type foreignKey struct {
	Name       string   `json:"name"`
	Table      string   `json:"table"`
	Columns    []string `json:"columns"`
	RefTable   string   `json:"ref_table"`
	RefColumns []string `json:"ref_columns"`
	OnDelete   string   `json:"on_delete"` // CASCADE, SET NULL or anything else
	SQL        string   `json:"sql"`       // ALTER TABLE … ADD CONSTRAINT …, without NOT VALID
	// Added is true once it is back but not validated.
	Added bool `json:"added,omitempty"`
}

func (k foreignKey) mark() string { return markKey + k.Table + "." + k.Name }

// Prepare makes the tables, or takes over those that Open WebUI made, the first
// time it is called; for every unit it sees that its table is there. It refuses
// a target that is in use.
func (s *Sink) Prepare(ctx context.Context, unit pipeline.Unit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tables == nil {
		tables, err := s.prepare(ctx)
		if err != nil {
			return pg.Classify("preparing the target", err)
		}
		s.tables = tables
	}
	if unit.Lane != pipeline.Rows || s.tables[unit.Name] == nil {
		return pipeline.Usage("preparing "+unit.ID(), fmt.Errorf("the target has no such table"), "leave this table out, or bring the target to the source's release")
	}
	return nil
}

func (s *Sink) prepare(ctx context.Context) (map[string]*pg.Table, error) {
	t, err := s.inspect(ctx)
	if err != nil {
		return nil, err
	}
	if t.Locked {
		return nil, locked()
	}
	if f := s.refuse(t, false); f != nil {
		return nil, asError(f)
	}
	switch t.State {
	case Empty:
		err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.create(ctx, tx) })
	case Fresh:
		err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.adopt(ctx, tx) })
		if pg.HasCode(err, "55P03") { // lock_not_available
			err = pipeline.Environment("taking over the target's tables", err, "another program uses the target: stop Open WebUI there, then run the same command")
		}
	case Ours:
		delete(t.tables, versionTable)
		return t.tables, nil
	}
	if err != nil {
		return nil, err
	}
	return s.writable(ctx)
}

func locked() error {
	return &pipeline.Error{Op: "preparing the target", Err: pipeline.ErrLocked, Exit: pipeline.ExitEnvironment,
		Hint: "wait for the other run to end or stop it, then run the same command"}
}

// create makes the tables of the source's head with all that can refuse a row.
func (s *Sink) create(ctx context.Context, tx pgx.Tx) error {
	var b strings.Builder
	for _, st := range s.known.Statements(s.schema, schema.BeforeLoad) {
		b.WriteString(st.SQL + ";\n")
	}
	if _, err := tx.Exec(ctx, b.String(), pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	for _, st := range s.known.Statements(s.schema, schema.AfterLoad) {
		if err := s.mark(ctx, tx, markIndex+st.Name, index{Table: st.Table, SQL: st.SQL}); err != nil {
			return err
		}
	}
	sql := map[[2]string]string{}
	for _, st := range s.known.Statements(s.schema, schema.ForeignKeys) {
		sql[[2]string{st.Table, st.Name}] = st.SQL
	}
	for _, t := range s.known.Tables {
		for _, k := range t.ForeignKeys {
			f := foreignKey{Name: k.Name, Table: k.Table, Columns: k.Columns, RefTable: k.RefTable, RefColumns: k.RefColumns, OnDelete: k.OnDelete, SQL: sql[[2]string{k.Table, k.Name}]}
			if err := s.mark(ctx, tx, f.mark(), f); err != nil {
				return err
			}
		}
	}
	if err := s.store.MarkTx(ctx, tx, markVersion, s.cfg.Head); err != nil {
		return err
	}
	return s.store.MarkTx(ctx, tx, markPrepared, "created")
}

// adopt takes over tables that Open WebUI made: under an exclusive lock it looks
// once more that nobody has used them, empties the seeded ones and takes away
// plain indexes, foreign keys and the revision, each with its mark.
func (s *Sink) adopt(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '15s'"); err != nil {
		return err
	}
	there, err := pg.Tables(ctx, tx, s.schema)
	if err != nil {
		return err
	}
	tables := s.ours(there)
	names := sorted(tables)
	if _, err := tx.Exec(ctx, "LOCK TABLE "+s.list(names)+" IN ACCESS EXCLUSIVE MODE"); err != nil {
		return err
	}
	t := Target{State: Fresh, Schema: s.schema}
	if t.Filled, err = s.filled(ctx, tx, tables); err != nil {
		return err
	}
	if t.Head, err = s.head(ctx, tx, there); err != nil {
		return err
	}
	if len(t.Filled) > 0 {
		t.State = InUse
	}
	if f := s.refuse(t, false); f != nil {
		return asError(f)
	}
	if err := s.takeAway(ctx, tx, names); err != nil {
		return err
	}
	if config := slices.DeleteFunc(names, func(n string) bool { return n == versionTable || !slices.Contains(seeded, n) }); len(config) > 0 {
		if _, err := tx.Exec(ctx, "TRUNCATE "+s.list(config)); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, "DELETE FROM "+s.t(versionTable)); err != nil {
		return err
	}
	if err := s.store.MarkTx(ctx, tx, markVersion, t.Head); err != nil {
		return err
	}
	return s.store.MarkTx(ctx, tx, markPrepared, "adopted")
}

// Plain indexes: not unique, on columns only, at most with "column IS [NOT]
// NULL" for a predicate, behind no constraint. No row can fail on one.
const indexesSQL = `SELECT x.relname::text, t.relname::text, pg_get_indexdef(x.oid) FROM pg_index i
 JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE n.nspname = $1 AND t.relname = ANY ($2::text[]) AND NOT i.indisunique AND NOT i.indisprimary AND i.indisvalid AND i.indexprs IS NULL
 AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) ~ '^\(("[^"]+"|[a-z0-9_]+) IS (NOT )?NULL\)$')
 AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid) ORDER BY 1`

const keysSQL = `SELECT c.conname::text, t.relname::text, r.relname::text,
 ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k(n, i) JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.n ORDER BY k.i),
 ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY k(n, i) JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.n ORDER BY k.i),
 CASE c.confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' ELSE '' END, pg_get_constraintdef(c.oid)
FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_class r ON r.oid = c.confrelid
WHERE c.contype = 'f' AND c.conparentid = 0 AND t.relnamespace = r.relnamespace AND t.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
 AND t.relname = ANY ($2::text[]) AND r.relname = ANY ($2::text[]) ORDER BY 1`

// keysOf lists the foreign keys of these tables to each other. Their definitions
// name every schema only with nothing on the search path.
func (s *Sink) keysOf(ctx context.Context, q pg.Querier, names []string) ([]foreignKey, error) {
	rows, err := q.Query(ctx, keysSQL, s.schema, names)
	if err != nil {
		return nil, err
	}
	var name, table, ref, onDelete, def string
	var cols, refCols []string
	var keys []foreignKey
	_, err = pgx.ForEachRow(rows, []any{&name, &table, &ref, &cols, &refCols, &onDelete, &def}, func() error {
		keys = append(keys, foreignKey{Name: name, Table: table, Columns: slices.Clone(cols), RefTable: ref, RefColumns: slices.Clone(refCols), OnDelete: onDelete,
			SQL: "ALTER TABLE ONLY " + s.t(table) + " ADD CONSTRAINT " + pg.Ident(name) + " " + strings.TrimSuffix(def, " NOT VALID")})
		return nil
	})
	return keys, err
}

// takeAway records and drops the plain indexes and foreign keys of tables.
func (s *Sink) takeAway(ctx context.Context, tx pgx.Tx, names []string) error {
	// With nothing on the search path definitions name every schema.
	if _, err := tx.Exec(ctx, "SET LOCAL search_path = pg_catalog"); err != nil {
		return err
	}
	keys, err := s.keysOf(ctx, tx, names)
	if err != nil {
		return err
	}
	var drop []string
	for _, k := range keys {
		drop = append(drop, "ALTER TABLE ONLY "+s.t(k.Table)+" DROP CONSTRAINT "+pg.Ident(k.Name))
	}
	indexes := map[string]index{}
	var name, table, def string
	rows, err := tx.Query(ctx, indexesSQL, s.schema, names)
	if err != nil {
		return err
	}
	if _, err := pgx.ForEachRow(rows, []any{&name, &table, &def}, func() error {
		indexes[name] = index{Table: table, SQL: def}
		drop = append(drop, "DROP INDEX "+s.t(name))
		return nil
	}); err != nil {
		return err
	}
	for _, k := range keys {
		if err := s.mark(ctx, tx, k.mark(), k); err != nil {
			return err
		}
	}
	for n, v := range indexes {
		if err := s.mark(ctx, tx, markIndex+n, v); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, strings.Join(drop, ";\n"), pgx.QueryExecModeSimpleProtocol)
	return err
}

func (s *Sink) mark(ctx context.Context, tx pgx.Tx, name string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.store.MarkTx(ctx, tx, name, string(body))
}

func (s *Sink) list(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = s.t(n)
	}
	return strings.Join(q, ", ")
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
