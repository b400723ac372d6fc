// Package schema knows the tables of Open WebUI's PostgreSQL database at every
// alembic head it was released with.
//
// Each <head>.sql is what pg_dump prints after Open WebUI's own alembic ran up
// to that revision on an empty database; generate.sh makes them and heads.tsv
// lists them. Load reads one into tables, columns and constraints, and gives
// the statements that create it in any schema of any database, under the very
// names that Open WebUI's later migrations drop things by.
//
// A database that Open WebUI created itself may differ (one that began before
// 0.9.6 does): what is really there is in its pg_catalog, not here.
package schema

import (
	"embed"
	"errors"
	"fmt"
	"strings"
)

//go:embed *.sql heads.tsv
var files embed.FS

// ErrUnknownHead is what Load says of a revision that no known release of Open
// WebUI stops at.
var ErrUnknownHead = errors.New("no known release of Open WebUI has this schema")

// Schema is the database of one alembic head. Tables holds alembic_version too.
type Schema struct {
	Head      string
	Tables    []Table // by name
	Sequences []Sequence

	statements []statement // in the order that creates them
}

// Table is one table; columns are in the order PostgreSQL has them, which is
// not everywhere SQLite's.
type Table struct {
	Name        string
	Columns     []Column
	PrimaryKey  []string
	Unique      []Unique // constraints; unique indexes are in Indexes
	Checks      []Check
	ForeignKeys []ForeignKey
	Indexes     []Index // without those of PrimaryKey and Unique
}

// Column is one column. Type is one of the Type constants.
type Column struct {
	Name       string
	Type       Type
	MaxLen     int // characters of a varchar(n), 0 without a limit
	NotNull    bool
	HasDefault bool
}

// Type is a column type under PostgreSQL's short name.
type Type string

// The types that occur.
const (
	Text      Type = "text"
	Varchar   Type = "varchar"
	Bigint    Type = "bigint"
	Integer   Type = "integer"
	Boolean   Type = "boolean"
	JSON      Type = "json"
	Date      Type = "date"
	Timestamp Type = "timestamp" // without time zone
)

// Unique is a UNIQUE constraint: rows with a NULL among Columns do not collide.
type Unique struct {
	Name    string
	Columns []string
}

// Check is a CHECK constraint with its expression as pg_dump prints it.
type Check struct {
	Name string
	Expr string
}

// ForeignKey is a foreign key; none is deferrable. OnDelete is "CASCADE", "SET
// NULL" or "" for no action.
type ForeignKey struct {
	Name       string
	Table      string
	Columns    []string
	RefTable   string
	RefColumns []string
	OnDelete   string
}

// Index is an index that no constraint made. Keys are as pg_dump prints them
// ("updated_at DESC", "lower((email)::text)"), Where is its predicate or "".
type Index struct {
	Name   string
	Table  string
	Unique bool
	Keys   []string
	Where  string
	// Plain tells that no row can fail on this index: it is not unique, its
	// keys are columns, its predicate asks at most whether one is NULL.
	Plain bool
}

// Sequence feeds the default of a column. It stands at its start after the
// statements ran: whoever copies rows must set it.
type Sequence struct {
	Name   string
	Table  string
	Column string
}

// Heads lists the known heads, oldest first.
func Heads() []string {
	var heads []string
	for _, h := range list() {
		heads = append(heads, h.head)
	}
	return heads
}

// Releases lists the releases of Open WebUI that are known to stop at a head,
// oldest first; nil for an unknown head. Patch releases between two of them
// have the same head.
func Releases(head string) []string {
	for _, h := range list() {
		if h.head == head {
			return h.releases
		}
	}
	return nil
}

// Load reads the schema of a head. The error is ErrUnknownHead when there is
// none.
func Load(head string) (*Schema, error) {
	if Releases(head) == nil {
		return nil, fmt.Errorf("loading schema %q: %w", head, ErrUnknownHead)
	}
	sql, err := files.ReadFile(head + ".sql")
	if err != nil {
		return nil, fmt.Errorf("loading schema %q: %w", head, err)
	}
	s, err := parse(string(sql))
	if err != nil {
		return nil, fmt.Errorf("parsing %s.sql: %w", head, err)
	}
	s.Head = head
	return s, nil
}

// Table finds a table by its name.
func (s *Schema) Table(name string) (*Table, bool) {
	for i := range s.Tables {
		if s.Tables[i].Name == name {
			return &s.Tables[i], true
		}
	}
	return nil, false
}

// Column finds a column by its name.
func (t *Table) Column(name string) (*Column, bool) {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i], true
		}
	}
	return nil, false
}

type release struct {
	head     string
	releases []string
	peewee   bool
}

// list reads heads.tsv; a test holds it to the files that are there.
func list() []release {
	tsv, err := files.ReadFile("heads.tsv")
	if err != nil {
		return nil // embedded: cannot be
	}
	var all []release
	for line := range strings.Lines(string(tsv)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) >= 2 && !strings.HasPrefix(line, "#") {
			all = append(all, release{f[0], strings.Fields(f[1]), len(f) > 2 && f[2] == "peewee"})
		}
	}
	return all
}
