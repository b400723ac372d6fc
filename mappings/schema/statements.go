package schema

import "strings"

// Phase is a time in the making of a target.
type Phase int

// The phases, in their order. NotValid and Validate together do what
// ForeignKeys does, with the locks of the long part lighter.
const (
	// BeforeLoad has tables, sequences, defaults, primary keys, UNIQUE
	// constraints and the indexes that can refuse a row: they must do so while
	// the row can still be set aside.
	BeforeLoad Phase = iota
	// AfterLoad has the indexes that no row can fail on (Index.Plain).
	AfterLoad
	// ForeignKeys adds the foreign keys and checks them.
	ForeignKeys
	// NotValid adds the foreign keys without looking at the rows there are.
	NotValid
	// Validate checks those of NotValid.
	Validate
)

// Kind is what a statement makes.
type Kind string

// The kinds of statements.
const (
	KindTable         Kind = "table"
	KindSequence      Kind = "sequence"
	KindSequenceOwner Kind = "sequence owner"
	KindDefault       Kind = "default"
	KindPrimaryKey    Kind = "primary key"
	KindUnique        Kind = "unique constraint"
	KindIndex         Kind = "index"
	KindForeignKey    Kind = "foreign key"
)

// Statement is one SQL command, without a semicolon. Name is what it makes (of
// a default: the column), Table what that belongs to ("" for a sequence); both
// without quotes.
type Statement struct {
	Kind  Kind
	Name  string
	Table string
	SQL   string
}

// Statements gives the commands of a phase in an order in which they can run.
// The tables go into the schema of that name, which must exist; with "" the
// names are not qualified and the connection's search_path decides.
func (s *Schema) Statements(schemaName string, phase Phase) []Statement {
	prefix := ""
	if schemaName != "" {
		prefix = quoteName(schemaName) + "."
	}
	var all []Statement
	for _, st := range s.statements {
		if st.phase != phase && !(st.phase == ForeignKeys && (phase == NotValid || phase == Validate)) {
			continue
		}
		sql := st.in(prefix)
		switch phase {
		case NotValid:
			sql += " NOT VALID"
		case Validate:
			sql = "ALTER TABLE ONLY " + prefix + quoteName(st.table) + " VALIDATE CONSTRAINT " + quoteName(st.name)
		}
		all = append(all, Statement{st.kind, st.name, st.table, sql})
	}
	return all
}

// statement is one command of a file, cut where the schema's name belongs.
type statement struct {
	kind        Kind
	name, table string
	phase       Phase
	parts       []part
}

// part is text as it stands in the file, after which the prefix comes (not
// after the last one). With inString that place is inside a string.
type part struct {
	text     string
	inString bool
}

func (s statement) in(prefix string) string {
	var b strings.Builder
	for i, p := range s.parts {
		b.WriteString(p.text)
		switch {
		case i == len(s.parts)-1:
		case p.inString:
			b.WriteString(strings.ReplaceAll(prefix, "'", "''"))
		default:
			b.WriteString(prefix)
		}
	}
	return b.String()
}

// quoteName writes a name so that PostgreSQL takes it as it is.
func quoteName(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
