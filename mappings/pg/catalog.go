package pg

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/schema"
)

// Querier is what reads the catalog: a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Column is one column of a table as it is. Type is one of schema's constants,
// or what format_type says of any other type.
type Column struct {
	Name       string
	Type       schema.Type
	MaxLen     int // characters of a varchar(n), 0 without a limit
	NotNull    bool
	HasDefault bool
	InKey      bool // of the primary key
}

// Table is one ordinary table as pg_catalog describes it.
type Table struct {
	Name    string
	Columns []Column // in their order
	Key     []string // columns of the primary key in its order, nil without one
	Rows    int64    // the planner's estimate, -1 when it has none
	Bytes   int64    // with TOAST, without indexes; 0 until Sizes was asked
	Mine    bool     // this role may alter and drop it
}

// Column finds a column by its name.
func (t *Table) Column(name string) (Column, bool) {
	for _, c := range t.Columns {
		if c.Name == name {
			return c, true
		}
	}
	return Column{}, false
}

// Names lists the columns.
func (t *Table) Names() []string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	return names
}

const catalogSQL = `SELECT c.relname::text, c.reltuples::bigint, pg_has_role(c.relowner, 'USAGE'),
 (SELECT json_agg(json_build_object('n', a.attname, 't', CASE a.atttypid WHEN 'varchar'::regtype THEN 'varchar' WHEN 'int8'::regtype THEN 'bigint'
    WHEN 'int4'::regtype THEN 'integer' WHEN 'bool'::regtype THEN 'boolean' WHEN 'timestamp'::regtype THEN 'timestamp' ELSE format_type(a.atttypid, a.atttypmod) END,
    'm', CASE WHEN a.atttypid = 'varchar'::regtype AND a.atttypmod > 4 THEN a.atttypmod - 4 ELSE 0 END, 'o', a.attnotnull, 'd', a.atthasdef) ORDER BY a.attnum)
   FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '')::text,
 (SELECT json_agg(a.attname ORDER BY k.n) FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n), pg_attribute a
   WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid AND a.attnum = k.attnum)::text
FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace WHERE s.nspname = $1 AND c.relkind IN ('r', 'p') ORDER BY c.relname COLLATE "C"`

// Tables reads the tables of a schema; empty when there are none or the schema
// does not exist.
func Tables(ctx context.Context, q Querier, schemaName string) (map[string]*Table, error) {
	rows, err := q.Query(ctx, catalogSQL, schemaName)
	if err != nil {
		return nil, Classify("reading the catalog", err)
	}
	list, err := pgx.CollectRows(rows, scanTable)
	if err != nil {
		return nil, Classify("reading the catalog", err)
	}
	out := make(map[string]*Table, len(list))
	for _, t := range list {
		out[t.Name] = t
	}
	return out, nil
}

// Sizes asks how large tables of a schema are, which takes the server a look at the
// files of each.
func Sizes(ctx context.Context, q Querier, schemaName string, tables map[string]*Table) error {
	rows, err := q.Query(ctx, `SELECT c.relname::text, pg_table_size(c.oid) FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
 WHERE s.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname = ANY($2)`, schemaName, slices.Collect(maps.Keys(tables)))
	if err != nil {
		return Classify("asking for the sizes of the tables", err)
	}
	var name string
	var bytes *int64 // NULL of a table that was dropped meanwhile
	_, err = pgx.ForEachRow(rows, []any{&name, &bytes}, func() error {
		if bytes != nil {
			tables[name].Bytes = *bytes
		}
		return nil
	})
	return Classify("asking for the sizes of the tables", err)
}

func scanTable(row pgx.CollectableRow) (*Table, error) {
	t := &Table{}
	var cols, key *string
	if err := row.Scan(&t.Name, &t.Rows, &t.Mine, &cols, &key); err != nil {
		return nil, err
	}
	if key != nil {
		if err := json.Unmarshal([]byte(*key), &t.Key); err != nil {
			return nil, err
		}
	}
	if cols == nil { // a table without columns
		return t, nil
	}
	var facts []struct {
		N string
		T schema.Type
		M int
		O bool
		D bool
	}
	if err := json.Unmarshal([]byte(*cols), &facts); err != nil {
		return nil, err
	}
	for _, f := range facts {
		t.Columns = append(t.Columns, Column{Name: f.N, Type: f.T, MaxLen: f.M, NotNull: f.O, HasDefault: f.D, InKey: slices.Contains(t.Key, f.N)})
	}
	return t, nil
}

// Planned gives a table that is still to be made from its schema.
func Planned(t *schema.Table) *Table {
	out := &Table{Name: t.Name, Key: t.PrimaryKey, Rows: -1, Mine: true}
	for _, c := range t.Columns {
		out.Columns = append(out.Columns, Column{Name: c.Name, Type: c.Type, MaxLen: c.MaxLen,
			NotNull: c.NotNull || slices.Contains(t.PrimaryKey, c.Name), HasDefault: c.HasDefault, InKey: slices.Contains(t.PrimaryKey, c.Name)})
	}
	return out
}
