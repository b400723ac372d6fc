package pg

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"outgrow/mappings/schema"
	"outgrow/pipeline"
)

// KeyJoin is what joins a table under an alias with rows of the given keys, as
// Row.Key makes them: a list of unnested parameters named k, its arguments, and
// the condition. Keys that no row of the table can have are left out; args is
// nil when none is left. first is the number of the first parameter.
func KeyJoin(t *Table, alias string, keys []string, first int) (from, where string, args []any) {
	columns := make([]Column, len(t.Key))
	for i, name := range t.Key {
		columns[i], _ = t.Column(name)
	}
	values := make([][]string, len(columns))
	for _, key := range keys {
		for _, piece := range KeyPieces(key, len(columns)) {
			if !possibleKey(columns, piece) {
				continue
			}
			for i, v := range piece {
				values[i] = append(values[i], v)
			}
		}
	}
	if len(values) == 0 || len(values[0]) == 0 {
		return "", "", nil
	}
	unnest, names, same := make([]string, len(columns)), make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		args = append(args, values[i])
		unnest[i] = fmt.Sprintf("$%d::text[]::%s[]", first+i, CastOf(c))
		names[i] = fmt.Sprintf("k%d", i)
		same[i] = alias + "." + Ident(c.Name) + " = k." + names[i]
	}
	return "unnest(" + strings.Join(unnest, ", ") + ") AS k(" + strings.Join(names, ", ") + ")", strings.Join(same, " AND "), args
}

// CastOf is the type that a key's text is cast to.
func CastOf(c Column) string {
	switch c.Type {
	case schema.Text, schema.Varchar:
		return "text" // a text parameter serves an index on varchar too
	}
	return string(c.Type)
}

// possibleKey reports whether the database can hold these key values at all; it
// would refuse the whole question for one that it cannot.
func possibleKey(columns []Column, values []string) bool {
	for i, v := range values {
		switch columns[i].Type {
		case schema.Bigint:
			if n, err := strconv.ParseInt(v, 10, 64); err != nil || strconv.FormatInt(n, 10) != v {
				return false
			}
		case schema.Integer:
			if n, err := strconv.ParseInt(v, 10, 32); err != nil || strconv.FormatInt(n, 10) != v {
				return false
			}
		case schema.Boolean:
			if v != "true" && v != "false" {
				return false
			}
		default:
			if !Holds(v) {
				return false
			}
		}
	}
	return true
}

// Holds reports whether a text column can hold this text: UTF-8 without NUL.
func Holds(text string) bool { return strings.IndexByte(text, 0) < 0 && utf8.ValidString(text) }

// KeyPieces lists the ways in which a key can be n values joined by KeySeparator:
// one, unless a value holds the separator itself.
func KeyPieces(key string, n int) [][]string {
	if n == 1 {
		return [][]string{{key}}
	}
	var out [][]string
	for from := 0; ; {
		i := strings.Index(key[from:], pipeline.KeySeparator)
		if i < 0 {
			return out
		}
		for _, rest := range KeyPieces(key[from+i+len(pipeline.KeySeparator):], n-1) {
			out = append(out, append([]string{key[:from+i]}, rest...))
		}
		from += i + len(pipeline.KeySeparator)
	}
}
