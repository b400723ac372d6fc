package vectors

import (
	"math"
	"strconv"
	"strings"
)

// AppendText appends a JSON string in which only what JSON demands is escaped.
// What is not UTF-8 stays as it is.
func AppendText(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(b, s[from:]...), '"')
}

// AppendFloat spells a finite double as Python's repr does, so that it stays a
// float: 3.0, 1e-05, 1e+16.
func AppendFloat(b []byte, f float64) []byte {
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		format = 'e'
	}
	from := len(b)
	b = strconv.AppendFloat(b, f, format, -1, 64)
	if !strings.ContainsAny(string(b[from:]), ".e") {
		b = append(b, ".0"...)
	}
	return b
}

// Class names the kind of collection that Open WebUI's multitenancy keeps a
// logical one in: memories, files, web-search, hash-based or knowledge. Qdrant
// and Milvus go by the same rule.
func Class(logical string) string {
	const hash = 63 // hexadecimal digits of a hash; one more makes it knowledge
	switch {
	case strings.HasPrefix(logical, "user-memory-"):
		return "memories"
	case strings.HasPrefix(logical, "file-"):
		return "files"
	case strings.HasPrefix(logical, "web-search-"):
		return "web-search"
	case len(logical) == hash && strings.Trim(logical, "0123456789abcdef") == "":
		return "hash-based"
	}
	return "knowledge"
}
