package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// TableInfo describes a table as it is in the file.
type TableInfo struct {
	Name    string
	Columns []ColumnInfo
	// Key is the primary key's columns in its order.
	Key []string
	// WithoutRowID tables cannot be read by this package; Open WebUI has none.
	WithoutRowID bool
	// Leftover is true for what migrations leave behind: alembic's temporary
	// tables, and the migration tools' own tables.
	Leftover bool

	rowid string // the name under which the rowid is reachable
}

// ColumnInfo is one column. Type is the declared one, which says nothing safe
// about the values.
type ColumnInfo struct {
	Name, Type string
	NotNull    bool
}

// Tables lists the tables, SQLite's own left out.
func (s *Source) Tables(context.Context) ([]TableInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tables), nil
}

// SetKeys gives the target's primary keys by table; they make the rows' Key.
// Tables that are not named keep the file's. Call it before reading.
func (s *Source) SetKeys(keys map[string][]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
}

// SetColumns restricts the tables named to these columns, in this order;
// columns that the file does not have are left out. Call it before reading.
func (s *Source) SetColumns(cols map[string][]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cols = cols
}

func leftover(name string) bool {
	return name == "alembic_version" || name == "migratehistory" || strings.HasPrefix(name, "_alembic_tmp_")
}

func (s *Source) loadSchema(ctx context.Context) error {
	var tables []TableInfo
	err := s.each(ctx, "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table' ORDER BY name", func(v []any) error {
		name := asText(v[0])
		if !strings.HasPrefix(name, "sqlite_") {
			tables = append(tables, TableInfo{Name: name, WithoutRowID: v[1] == int64(1), Leftover: leftover(name)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range tables {
		t := &tables[i]
		key := map[int64]string{}
		err := s.each(ctx, "SELECT name, type, \"notnull\", pk FROM pragma_table_info("+literal(t.Name)+") ORDER BY cid", func(v []any) error {
			name := asText(v[0])
			t.Columns = append(t.Columns, ColumnInfo{Name: name, Type: asText(v[1]), NotNull: v[2] == int64(1)})
			if pk, _ := v[3].(int64); pk > 0 {
				key[pk] = name
			}
			return nil
		})
		if err != nil {
			return err
		}
		for n := int64(1); key[n] != ""; n++ {
			t.Key = append(t.Key, key[n])
		}
		for _, name := range []string{"rowid", "_rowid_", "oid"} {
			if !slices.ContainsFunc(t.Columns, func(c ColumnInfo) bool { return strings.EqualFold(c.Name, name) }) {
				t.rowid = name
				break
			}
		}
	}
	s.mu.Lock()
	s.tables = tables
	s.mu.Unlock()
	return nil
}

func (s *Source) table(name string) *TableInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.tables {
		if s.tables[i].Name == name {
			return &s.tables[i]
		}
	}
	return nil
}

func (t *TableInfo) has(column string) bool {
	return slices.ContainsFunc(t.Columns, func(c ColumnInfo) bool { return c.Name == column })
}

// readable finds a table that can be read, or says why it cannot.
func (s *Source) readable(name string) (*TableInfo, error) {
	t := s.table(name)
	switch {
	case t == nil:
		return nil, fmt.Errorf("reading table %s: the source has no such table", name)
	case t.WithoutRowID || t.rowid == "":
		return nil, fmt.Errorf("reading table %s: it has no rowid", name)
	}
	return t, nil
}
