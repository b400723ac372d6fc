package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// others tells of a table by its name that it is not one of Open WebUI's rows:
// outgrow's own, or pgvector's, which are another lane.
func others(name string) bool {
	return strings.HasPrefix(name, "_outgrow_") || strings.HasPrefix(name, "document_chunk")
}

// leftover tells of what the migration tools keep for themselves.
func leftover(name string) bool {
	return name == version || name == "migratehistory" || strings.HasPrefix(name, "_alembic_tmp_")
}

// SetKeys gives the target's primary keys by table; they make the rows' Key.
// Tables that are not named keep their own. Call it before reading.
func (s *Source) SetKeys(keys map[string][]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
	clear(s.readers)
}

// SetColumns restricts the tables named to these columns, in this order;
// columns that the source does not have are left out. Call it before reading.
func (s *Source) SetColumns(cols map[string][]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cols = cols
	clear(s.readers)
}

// table is what is needed to read one table.
type table struct {
	name   string // quoted, with its schema
	reader *pg.Reader
	shape  *pg.Table // with the key of the rows
	order  []ordered // the key by which they are read
	// direct: the rows are read with one query in their order. Else their keys
	// are, and the rows by key.
	direct bool
	sorts  bool // direct, but no index gives that order
}

// ordered is a column of the key by which rows are read.
type ordered struct {
	pg.Column
	collate bool
}

// by is the expression that gives its order.
func (o ordered) by(alias string) string {
	if o.collate {
		return alias + pg.Ident(o.Name) + ` COLLATE "C"`
	}
	return alias + pg.Ident(o.Name)
}

// orderBy is "a, b", the order of the rows.
func (t *table) orderBy(alias string) string {
	return join(t.order, ", ", func(o ordered) string { return o.by(alias) })
}

// texts is "a::text, b::text", the key of a cursor.
func (t *table) texts(alias string) string {
	return join(t.order, ", ", func(o ordered) string { return alias + pg.Ident(o.Name) + "::text" })
}

// open finds a table; errors.ErrUnsupported when it has no key to read it by.
func (s *Source) open(ctx context.Context, unit pipeline.Unit) (*table, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.readers[unit.Name]; t != nil {
		return t, nil
	}
	fail := func(err error, hint string) error {
		return &pipeline.Error{Op: "reading", Unit: unit.ID(), Err: err, Hint: hint}
	}
	found := s.tables[unit.Name]
	if found == nil {
		return nil, fail(fmt.Errorf("there is no such table in schema %q", s.schema), "")
	}
	shape := *found
	if key, ok := s.keys[unit.Name]; ok {
		shape.Key = key
	}
	by := found.Key
	if by == nil {
		if by = shape.Key; by == nil {
			return nil, fail(fmt.Errorf("the table has no primary key: %w", errors.ErrUnsupported), "")
		}
		unique, err := s.unique(ctx, found, by)
		if err != nil {
			return nil, pg.Classify("looking for a key of "+unit.ID(), err)
		}
		if !unique {
			return nil, fail(fmt.Errorf("the table has no primary key, and %s is NULL or there twice in some rows: %w", strings.Join(by, ", "), errors.ErrUnsupported),
				"give it the primary key that Open WebUI's own tables have")
		}
	}
	columns := s.cfg.Columns[unit.Name]
	if want, ok := s.cols[unit.Name]; ok {
		columns = slices.DeleteFunc(slices.Clone(want), func(c string) bool { _, ok := found.Column(c); return !ok })
	}
	reader, err := pg.NewReader(&shape, columns)
	if err != nil {
		return nil, err
	}
	t := &table{name: s.t(unit.Name), reader: reader, shape: &shape, direct: true, sorts: found.Key == nil}
	for _, k := range by {
		c, _ := found.Column(k)
		collate := false
		if ordering, ok := s.bytewise[unit.Name+"."+k]; ok {
			collate = !ordering
		}
		t.order = append(t.order, ordered{c, collate})
		t.direct = t.direct && (t.sorts || !collate)
	}
	s.readers[unit.Name] = t
	return t, nil
}

// unique reports whether these columns tell the rows of a table without a
// primary key apart.
func (s *Source) unique(ctx context.Context, t *pg.Table, columns []string) (ok bool, err error) {
	for _, c := range columns {
		if _, there := t.Column(c); !there {
			return false, nil
		}
	}
	list := pg.Idents(columns)
	err = s.view(ctx, func(q pg.Querier) error {
		return q.QueryRow(ctx, fmt.Sprintf("SELECT NOT EXISTS (SELECT FROM %s GROUP BY %s HAVING count(*) > 1 OR (%s) IS NULL)",
			s.t(t.Name), list, join(columns, ") IS NULL OR (", func(c string) string { return pg.Ident(c) }))).Scan(&ok)
	})
	return ok, err
}

// bytewise tells of the columns of a schema that have a collation whether it
// orders text by its bytes. libc's C.UTF-8 does, too, but no catalog says so of
// the platform.
func bytewise(ctx context.Context, q pg.Querier, schemaName string) (map[string]bool, error) {
	const sql = `SELECT c.relname || '.' || a.attname, CASE WHEN a.attcollation = 'pg_catalog."default"'::regcollation
	   THEN (SELECT datcollate IN ('C', 'POSIX') AND coalesce(to_json(d)->>'datlocprovider', 'c') = 'c' OR coalesce(to_json(d)->>'datlocprovider', '') = 'b' FROM pg_database d WHERE datname = current_database())
	   ELSE (SELECT coalesce(collcollate, '') IN ('C', 'POSIX') AND collprovider = 'c' OR collprovider = 'b' FROM pg_collation o WHERE o.oid = a.attcollation) END
	 FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
	 WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND a.attcollation <> 0`
	rows, err := q.Query(ctx, sql, schemaName)
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	var name string
	var is bool
	_, err = pgx.ForEachRow(rows, []any{&name, &is}, func() error { out[name] = is; return nil })
	return out, err
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func join[T any](list []T, sep string, f func(T) string) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = f(v)
	}
	return strings.Join(words, sep)
}
