package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"outgrow/mappings/rows"
	"outgrow/mappings/schema"
	"outgrow/pipeline"
)

const (
	versionTable = "alembic_version"
	ownTable     = "_outgrow"      // name, value
	partTable    = "_outgrow_part" // the last batch of every part
)

// table is a table of the target as SQLite describes it.
type table struct {
	name    string
	columns []rows.SQLiteColumn
	key     []string // the primary key in its order
	// alias is true where the primary key is the rowid itself, so that rows do
	// not have those of the order in which they came.
	alias bool
	keys  []foreignKey
}

// foreignKey is a foreign key; action is what happens when the parent is
// deleted.
type foreignKey struct {
	table, parent       string
	columns, refColumns []string
	action              string // CASCADE, SET NULL or anything else
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// each runs a query to its end; scan reads one row.
func each(ctx context.Context, q querier, query string, args []any, scan func(*sql.Rows) error) error {
	list, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer list.Close() //nolint:errcheck // Err is checked
	for list.Next() {
		if err := scan(list); err != nil {
			return err
		}
	}
	return list.Err()
}

// one reads a single value.
func one[T any](ctx context.Context, q querier, query string, args ...any) (v T, err error) {
	err = each(ctx, q, query, args, func(r *sql.Rows) error { return r.Scan(&v) })
	return v, err
}

// describe reads what tables there are, this package's own left out.
func describe(ctx context.Context, q querier) (map[string]*table, error) {
	out := map[string]*table{}
	err := each(ctx, q, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT IN (?, ?)", []any{ownTable, partTable}, func(r *sql.Rows) error {
		t := &table{}
		err := r.Scan(&t.name)
		out[t.name] = t
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, t := range out {
		at := map[int]string{}
		err := each(ctx, q, `SELECT name, type, "notnull", pk FROM pragma_table_info(?) ORDER BY cid`, []any{t.name}, func(r *sql.Rows) error {
			var c rows.SQLiteColumn
			var declared string
			var pk int
			if err := r.Scan(&c.Name, &declared, &c.NotNull, &pk); err != nil {
				return err
			}
			c.Affinity, c.InPrimaryKey = rows.AffinityOf(declared), pk > 0
			if pk > 0 {
				at[pk] = c.Name
				t.alias = strings.EqualFold(declared, "INTEGER")
			}
			t.columns = append(t.columns, c)
			return nil
		})
		if err != nil {
			return nil, err
		}
		for n := 1; at[n] != ""; n++ {
			t.key = append(t.key, at[n])
		}
		t.alias = t.alias && len(t.key) == 1
		if t.keys, err = foreignKeys(ctx, q, t.name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func foreignKeys(ctx context.Context, q querier, name string) ([]foreignKey, error) {
	var out []foreignKey
	last := -1
	err := each(ctx, q, `SELECT id, "table", "from", coalesce("to", ''), on_delete FROM pragma_foreign_key_list(?) ORDER BY id, seq`, []any{name}, func(r *sql.Rows) error {
		var id int
		var column, ref string
		k := foreignKey{table: name}
		if err := r.Scan(&id, &k.parent, &column, &ref, &k.action); err != nil {
			return err
		}
		if id != last {
			out, last = append(out, k), id
		}
		p := &out[len(out)-1]
		p.columns, p.refColumns = append(p.columns, column), append(p.refColumns, ref)
		return nil
	})
	return out, err
}

// planned describes the schema of the head without a file.
func (s *Sink) planned(ctx context.Context) (map[string]*table, error) {
	if s.known == nil {
		return nil, asError(s.unknown())
	}
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	defer db.Close() //nolint:errcheck // in memory
	db.SetMaxOpenConns(1)
	for _, st := range s.known.Statements(schema.BeforeLoad) {
		if _, err := db.ExecContext(ctx, st.SQL); err != nil {
			return nil, fmt.Errorf("making the %s %s: %w", st.Kind, st.Name, err)
		}
	}
	return describe(ctx, db)
}

func (t *table) column(name string) *rows.SQLiteColumn {
	i := slices.IndexFunc(t.columns, func(c rows.SQLiteColumn) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &t.columns[i]
}

func (t *table) names() []string {
	out := make([]string, len(t.columns))
	for i, c := range t.columns {
		out[i] = c.Name
	}
	return out
}

// header is what rows of the table share that are read from it.
func (t *table) header() *pipeline.Table {
	h := &pipeline.Table{Name: t.name, Columns: t.names()}
	for _, k := range t.key {
		h.Key = append(h.Key, slices.Index(h.Columns, k))
	}
	return h
}

// scanRow reads the columns of a header, after those of more.
func scanRow(r *sql.Rows, h *pipeline.Table, more ...any) (*pipeline.Row, error) {
	row := &pipeline.Row{Table: h, Values: make([]any, len(h.Columns))}
	into := append(make([]any, 0, len(more)+len(h.Columns)), more...)
	for i := range row.Values {
		into = append(into, &row.Values[i])
	}
	return row, r.Scan(into...)
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
