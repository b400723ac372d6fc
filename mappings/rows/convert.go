package rows

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"outgrow/pipeline"
)

// The types of PostgreSQL's columns that Open WebUI uses.
const (
	Text      = "text"
	Varchar   = "varchar"
	Bigint    = "bigint"
	Integer   = "integer"
	Boolean   = "boolean"
	JSON      = "json"
	Date      = "date"
	Timestamp = "timestamp"
)

// Column is a column of the target.
type Column struct {
	Table, Name  string
	Type         string // one of the constants
	MaxLen       int    // characters of a varchar, 0 for no limit
	NotNull      bool
	HasDefault   bool
	InPrimaryKey bool
}

// Why a value was changed.
const (
	NUL          pipeline.Reason = "nul"          // NUL characters taken out
	BrokenText   pipeline.Reason = "utf8"         // bytes that are not UTF-8 replaced
	Surrogates   pipeline.Reason = "surrogate"    // half surrogate pairs taken out
	RepairedJSON pipeline.Reason = "json-repair"  // control characters, byte order mark, NaN
	NotJSON      pipeline.Reason = "json-invalid" // kept as a JSON string
	EmptyJSON    pipeline.Reason = "json-empty"
	FromBlob     pipeline.Reason = "blob" // a BLOB read as text
	NotInteger   pipeline.Reason = "not-integer"
	OutOfRange   pipeline.Reason = "range"
	NotBoolean   pipeline.Reason = "not-boolean"
	NotDate      pipeline.Reason = "not-date"
	NotText      pipeline.Reason = "not-text"
	Truncated    pipeline.Reason = "truncated"
	DeepJSON     pipeline.Reason = "json-depth" // a refusal
	UnknownType  pipeline.Reason = "unknown-type"
)

// Fix is what was done to a value.
type Fix struct {
	Reason pipeline.Reason
	Note   string
}

// Problem is why a value cannot be stored.
type Problem struct {
	Reason pipeline.Reason
	Detail string
}

// Convert gives the canonical value for a column: nil, int64, bool or string.
// The value is as SQLite's storage class gives it: nil, int64, float64, string
// (any bytes), []byte; or canonical already. A nil Fix means that it still
// says the same. Out is undefined when there is a Problem.
func Convert(c Column, v any) (out any, fix *Fix, problem *Problem) { return convert(&c, v) }

func convert(c *Column, v any) (out any, fix *Fix, problem *Problem) {
	if v == nil {
		return missing(c, nil)
	}
	blob := false
	if b, ok := v.([]byte); ok {
		v, blob = string(b), true
	}
	switch c.Type {
	case Text, Varchar:
		out, fix, problem = text(c, v)
	case JSON:
		out, fix, problem = document(c, v)
	case Bigint:
		out, fix, problem = integer(c, v, math.MinInt64, math.MaxInt64)
	case Integer:
		out, fix, problem = integer(c, v, math.MinInt32, math.MaxInt32)
	case Boolean:
		out, fix, problem = boolean(c, v)
	case Date:
		out, fix, problem = date(c, v)
	case Timestamp:
		out, fix, problem = timestamp(c, v)
	default:
		return nil, nil, &Problem{UnknownType, "columns of type " + c.Type + " are not known"}
	}
	if blob && problem == nil {
		fix = join(&Fix{FromBlob, "the value was a BLOB and is read as text"}, fix)
	}
	return out, fix, problem
}

// missing is what NULL becomes; fix tells what made it NULL.
func missing(c *Column, fix *Fix) (any, *Fix, *Problem) {
	switch {
	case c.InPrimaryKey:
		return nil, nil, &Problem{pipeline.NullKeyReason, because(fix, "NULL in the primary key column "+c.Name)}
	case c.NotNull:
		return nil, nil, &Problem{pipeline.NotNull, because(fix, "NULL where column "+c.Name+" does not allow it")}
	}
	return nil, fix, nil
}

func because(fix *Fix, text string) string {
	if fix == nil {
		return text
	}
	return text + " (" + fix.Note + ")"
}

// otherwise gives NULL, or where that is not allowed the value given. A key is
// never made up.
func otherwise(c *Column, instead any, fix *Fix) (any, *Fix, *Problem) {
	switch {
	case c.InPrimaryKey:
		return nil, nil, &Problem{pipeline.Invalid, fix.Note + ", in the primary key column " + c.Name}
	case c.NotNull:
		return instead, fix, nil
	}
	return nil, fix, nil
}

func join(a, b *Fix) *Fix {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return &Fix{a.Reason, a.Note + "; " + b.Note}
}

// sound makes text that PostgreSQL can store.
func sound(s string) (string, *Fix) {
	var fix *Fix
	if strings.IndexByte(s, 0) >= 0 {
		s, fix = strings.ReplaceAll(s, "\x00", ""), &Fix{NUL, "NUL characters taken out"}
	}
	if !utf8.ValidString(s) {
		s, fix = clean(s), join(fix, &Fix{BrokenText, "bytes that are not UTF-8 replaced by U+FFFD"})
	}
	return s, fix
}

func text(c *Column, v any) (any, *Fix, *Problem) {
	s, ok := v.(string)
	var fix *Fix
	if !ok {
		s, fix = literal(v), &Fix{NotText, "a number is kept as its text"}
	}
	fixed, more := sound(s)
	if fix = join(fix, more); fix != nil {
		s, ok = fixed, false
	}
	if c.MaxLen > 0 && len(s) > c.MaxLen {
		if n := utf8.RuneCountInString(s); n > c.MaxLen {
			if c.InPrimaryKey || identifies(c.Name) {
				return nil, nil, &Problem{pipeline.TooLong, strconv.Itoa(n) + " characters where column " + c.Name + " takes " + strconv.Itoa(c.MaxLen)}
			}
			s, ok = string([]rune(s)[:c.MaxLen]), false
			fix = join(fix, &Fix{Truncated, "cut from " + strconv.Itoa(n) + " to " + strconv.Itoa(c.MaxLen) + " characters"})
		}
	}
	if ok {
		return v, nil, nil
	}
	return s, fix, nil
}

// identifies says whether other rows or people know a row by this column: cut
// short it would name another thing, or nothing.
func identifies(name string) bool {
	switch name {
	case "id", "key", "email", "command", "slug", "hash", "token", "collection_name":
		return true
	}
	return strings.HasSuffix(name, "_id")
}

// literal is the text of a number, shortest that reads back the same.
func literal(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

const byteOrderMark = "\xef\xbb\xbf"

// document is JSON text. SQLite stores the texts of numbers as numbers in a
// column that is declared JSON.
func document(c *Column, v any) (any, *Fix, *Problem) {
	s, ok := v.(string)
	if !ok {
		if f, isReal := v.(float64); isReal && (math.IsInf(f, 0) || math.IsNaN(f)) {
			return "null", &Fix{RepairedJSON, "an infinite number became null"}, nil
		}
		return literal(v), nil, nil
	}
	issues := Scan(s)
	if issues == 0 {
		return v, nil, nil
	}
	if issues == TooDeep {
		return tooDeep()
	}
	if strings.Trim(s, " \t\r\n\v\f\x00") == "" {
		fix := &Fix{EmptyJSON, "an empty text is no JSON"}
		if c.NotNull {
			return "null", fix, nil
		}
		return nil, fix, nil
	}
	var fix *Fix
	if strings.IndexByte(s, 0) >= 0 {
		s, fix = strings.ReplaceAll(s, "\x00", ""), &Fix{NUL, "NUL characters taken out"}
	}
	if rest, found := strings.CutPrefix(s, byteOrderMark); found {
		s, fix = rest, join(fix, &Fix{RepairedJSON, "a byte order mark was cut"})
	}
	switch issues = Scan(s); {
	case issues == TooDeep:
		return tooDeep()
	case issues == Invalid:
		s, more := sound(s)
		fix = join(&Fix{NotJSON, "not JSON, kept as a JSON string"}, join(fix, more))
		return quote(s), fix, nil
	case issues != 0:
		s = repair(s)
	}
	for _, k := range []struct {
		issue Issue
		fix   Fix
	}{
		{NULEscape, Fix{NUL, `the escapes \u0000 taken out`}},
		{LoneEscape, Fix{Surrogates, "escapes of half a surrogate pair taken out"}},
		{BadUTF8, Fix{BrokenText, "bytes that are not UTF-8 replaced by U+FFFD"}},
		{RawControl, Fix{RepairedJSON, "control characters in a string escaped"}},
		{NotFinite, Fix{RepairedJSON, "NaN and Infinity became null"}},
	} {
		if issues&k.issue != 0 {
			fix = join(fix, &k.fix)
		}
	}
	return s, fix, nil
}

func tooDeep() (any, *Fix, *Problem) {
	return nil, nil, &Problem{DeepJSON, "JSON nested deeper than " + strconv.Itoa(MaxDepth) + " levels, which PostgreSQL's stack does not take"}
}
