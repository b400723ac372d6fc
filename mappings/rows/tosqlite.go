package rows

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"outgrow/pipeline"
)

// Folded is the reason of a text that SQLite keeps as the number it says: a
// column that is declared JSON has the affinity NUMERIC there, for Open WebUI
// too. 1.0 is 1 afterwards.
const Folded pipeline.Reason = "number-folded"

// Affinity is how SQLite changes a value of a column when it is stored.
type Affinity string

// The affinities, https://www.sqlite.org/datatype3.html section 3.
const (
	AffinityInteger Affinity = "INTEGER"
	AffinityText    Affinity = "TEXT"
	AffinityBlob    Affinity = "BLOB"
	AffinityReal    Affinity = "REAL"
	AffinityNumeric Affinity = "NUMERIC"
)

// AffinityOf is that of a declared type, by the rules of section 3.1 in their
// order.
func AffinityOf(declared string) Affinity {
	d := strings.ToUpper(declared)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(d, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("INT"):
		return AffinityInteger
	case has("CHAR", "CLOB", "TEXT"):
		return AffinityText
	case d == "" || has("BLOB"):
		return AffinityBlob
	case has("REAL", "FLOA", "DOUB"): //nolint:misspell // as SQLite has it
		return AffinityReal
	}
	return AffinityNumeric
}

// SQLiteColumn is a column of a target in SQLite.
type SQLiteColumn struct {
	Name         string
	Affinity     Affinity
	NotNull      bool
	InPrimaryKey bool
}

// ToSQLite gives what SQLite is to store in a column: nil, int64, float64,
// string or []byte, the storage class that it has afterwards and the one in
// which Open WebUI itself stores such a value. The value is as a reader of any
// database gives it. What SQLite has held before, in a column of the same
// affinity, stays as it is, whatever it may be: a text that is not UTF-8, a word
// where a number belongs. A nil Fix means that it still says the same.
func ToSQLite(c SQLiteColumn, v any) (out any, fix *Fix, problem *Problem) {
	switch n := v.(type) {
	case nil:
		switch {
		case c.InPrimaryKey:
			return nil, nil, &Problem{pipeline.NullKeyReason, "NULL in the primary key column " + c.Name}
		case c.NotNull:
			return nil, nil, &Problem{pipeline.NotNull, "NULL where column " + c.Name + " does not allow it"}
		}
		return nil, nil, nil
	case []byte:
		return v, nil, nil
	case bool:
		if n {
			return ToSQLite(c, int64(1))
		}
		return ToSQLite(c, int64(0))
	case int64:
		return wholeToSQLite(c, n)
	case float64:
		return realToSQLite(c, n)
	case string:
		if c.Affinity == AffinityText || c.Affinity == AffinityBlob {
			return v, nil, nil
		}
		return textToSQLite(c, n)
	}
	return nil, nil, &Problem{UnknownType, fmt.Sprintf("SQLite has no storage class for a %T", v)}
}

func wholeToSQLite(c SQLiteColumn, n int64) (any, *Fix, *Problem) {
	switch c.Affinity {
	case AffinityText:
		return strconv.FormatInt(n, 10), &Fix{NotText, "a number is kept as its text"}, nil
	case AffinityReal:
		f := float64(n)
		if i, ok := wholeOf(f); !ok || i != n {
			return nil, nil, &Problem{OutOfRange, "a whole number that SQLite would round to a REAL in column " + c.Name}
		}
		return f, nil, nil
	}
	return n, nil, nil
}

func realToSQLite(c SQLiteColumn, f float64) (any, *Fix, *Problem) {
	if math.IsNaN(f) {
		return nil, nil, &Problem{OutOfRange, "NaN, for which SQLite stores NULL"}
	}
	switch c.Affinity {
	case AffinityText:
		return literal(f), &Fix{NotText, "a number is kept as its text"}, nil
	case AffinityInteger, AffinityNumeric:
		if i, ok := wholeOf(f); ok {
			return i, nil, nil
		}
	case AffinityReal:
		return f + 0, nil, nil // SQLite does not keep the sign of zero there
	}
	return f, nil, nil
}

// wholeOf is the integer that SQLite stores for a REAL of the same value in a
// column of numbers; the ends of the range stay REAL there.
func wholeOf(f float64) (int64, bool) {
	if f != math.Trunc(f) || f <= math.MinInt64 || f >= math.MaxInt64 {
		return 0, false
	}
	return int64(f), true
}

// textToSQLite folds a text that is a number, as SQLite would, but rounded as
// the application reads it elsewhere.
func textToSQLite(c SQLiteColumn, s string) (any, *Fix, *Problem) {
	text, whole, ok := sqliteNumber(s)
	if !ok {
		return s, nil, nil
	}
	var out any
	var fix *Fix
	var problem *Problem
	if whole {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, nil, &Problem{OutOfRange, "a whole number of more than 64 bits, which SQLite would round, in column " + c.Name}
		}
		out, fix, problem = wholeToSQLite(c, n)
	} else {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, nil, &Problem{OutOfRange, "a number beyond what SQLite holds in column " + c.Name}
		}
		out, fix, problem = realToSQLite(c, f)
	}
	if problem == nil && fix == nil && literal(out) != s {
		fix = &Fix{Folded, "the text of a number became the number, spelled in SQLite's way"}
	}
	return out, fix, problem
}

// sqliteNumber takes from a text the number that it is for SQLite: spaces
// around it, a sign, digits, a fraction, an exponent. It does not look behind a
// NUL.
func sqliteNumber(s string) (text string, whole, ok bool) {
	s, _, _ = strings.Cut(s, "\x00")
	text = strings.Trim(s, " \t\n\v\f\r")
	rest := strings.TrimLeft(text, "+-")
	if len(text)-len(rest) > 1 {
		return "", false, false
	}
	digits := func() int {
		n := 0
		for n < len(rest) && rest[n]-'0' < 10 {
			n++
		}
		rest = rest[n:]
		return n
	}
	n, whole := digits(), true
	if r, found := strings.CutPrefix(rest, "."); found {
		rest, whole = r, false
		n += digits()
	}
	if n == 0 {
		return "", false, false
	}
	if rest != "" && rest[0]|0x20 == 'e' {
		rest, whole = rest[1:], false
		if rest != "" && (rest[0] == '+' || rest[0] == '-') {
			rest = rest[1:]
		}
		if digits() == 0 {
			return "", false, false
		}
	}
	return text, whole, rest == ""
}

// SameSQLite reports whether two values of SQLite are the same in storage class
// and content.
func SameSQLite(a, b any) bool {
	switch x := a.(type) {
	case []byte:
		y, ok := b.([]byte)
		return ok && string(x) == string(y)
	case float64:
		y, ok := b.(float64)
		return ok && math.Float64bits(x) == math.Float64bits(y)
	}
	if _, ok := b.([]byte); ok {
		return false
	}
	return a == b
}
