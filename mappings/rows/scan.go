package rows

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// Issue is what [Scan] finds wrong with a JSON text. Invalid and TooDeep end
// the scan; the others can be repaired without touching the rest of the text.
type Issue uint16

// The issues.
const (
	Invalid    Issue = 1 << iota // not JSON
	TooDeep                      // nested deeper than MaxDepth
	NULEscape                    // \u0000 in a string: PostgreSQL stores it and cannot read any key of the document
	LoneEscape                   // half a surrogate pair as an escape: the same
	BadUTF8                      // bytes that are not UTF-8, surrogates among them
	RawControl                   // a control character in a string that is not escaped
	NotFinite                    // NaN, Infinity, -Infinity
)

// MaxDepth is how deep arrays and objects may nest. PostgreSQL takes about
// 7000 levels with its default max_stack_depth of 2 MB.
const MaxDepth = 6000

// Scan checks a JSON text against what PostgreSQL's json accepts on insert and
// reads back later. Zero means that it may be stored as it is. It allocates
// nothing. Duplicate keys and numbers of any size are fine.
func Scan(text string) Issue {
	switch text {
	case "null", "{}", "[]": // most of what is short
		return 0
	}
	return scan(unsafe.Slice(unsafe.StringData(text), len(text)))
}

// space gives the place behind the blanks at i.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

func scan(b []byte) (issues Issue) {
	var stack [MaxDepth/64 + 1]uint64 // a bit a level: 1 for an object
	depth, i := 0, 0
	var issue Issue
value:
	i = space(b, i)
	if i >= len(b) {
		return Invalid
	}
	switch c := b[i]; c {
	case '{', '[':
		if depth == MaxDepth {
			return TooDeep
		}
		word, bit := depth/64, uint64(1)<<(depth%64)
		depth++
		if i = space(b, i+1); i >= len(b) {
			return Invalid
		}
		if c == '[' {
			stack[word] &^= bit
			if b[i] != ']' {
				goto value
			}
			i++
			depth--
			goto after
		}
		stack[word] |= bit
		if b[i] == '}' {
			i++
			depth--
			goto after
		}
		goto key
	case '"':
		i, issue = str(b, i+1)
		issues |= issue
	case 't':
		i = word(b, i, "true")
	case 'f':
		i = word(b, i, "false")
	case 'n':
		i = word(b, i, "null")
	case 'N':
		i = word(b, i, "NaN")
		issues |= NotFinite
	case 'I':
		i = word(b, i, "Infinity")
		issues |= NotFinite
	default:
		i, issue = numeral(b, i)
		issues |= issue
	}
	if i < 0 {
		return Invalid
	}
after:
	i = space(b, i)
	if depth == 0 {
		if i != len(b) {
			return Invalid
		}
		return issues
	}
	if i >= len(b) {
		return Invalid
	}
	if level := depth - 1; stack[level/64]>>(level%64)&1 == 1 {
		switch b[i] {
		case ',':
			i = space(b, i+1)
			goto key
		case '}':
			i++
			depth--
			goto after
		}
		return Invalid
	}
	switch b[i] {
	case ',':
		i++
		goto value
	case ']':
		i++
		depth--
		goto after
	}
	return Invalid
key:
	if i >= len(b) || b[i] != '"' {
		return Invalid
	}
	if i, issue = str(b, i+1); i < 0 {
		return Invalid
	}
	issues |= issue
	if i = space(b, i); i >= len(b) || b[i] != ':' {
		return Invalid
	}
	i++
	goto value
}

// word passes a word; -1 means that it does not stand there.
func word(b []byte, i int, w string) int {
	if len(b)-i < len(w) || string(b[i:i+len(w)]) != w {
		return -1
	}
	return i + len(w)
}

// numeral passes a number; -1 means that it is none.
func numeral(b []byte, i int) (int, Issue) {
	if b[i] == '-' {
		i++
		if j := word(b, i, "Infinity"); j > 0 {
			return j, NotFinite
		}
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = digits(b, i); i < 0 {
		return -1, 0
	}
	if i < len(b) && b[i] == '.' {
		if i = digits(b, i+1); i < 0 {
			return -1, 0
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		i = digits(b, i)
	}
	return i, 0
}

// digits passes one digit or more; -1 means that there is none.
func digits(b []byte, i int) int {
	from := i
	for i < len(b) && b[i]-'0' < 10 {
		i++
	}
	if i == from {
		return -1
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks, in the highest bit of each of eight bytes, the quotes,
// backslashes and control characters. The lowest mark is right; those above it
// may be wrong.
func special(w uint64) uint64 {
	quote, slash := w^('"'*ones), w^('\\'*ones)
	return ((w-0x20*ones)&^w | (quote-ones)&^quote | (slash-ones)&^slash) & highs
}

// str passes a string from behind its quote to behind its other quote; -1 means
// that it has none.
func str(b []byte, i int) (int, Issue) {
	from, seen, issues := i, uint64(0), Issue(0)
	for {
		if i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			seen |= w
			marks := special(w)
			if marks == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(marks) >> 3
		} else if i >= len(b) {
			return -1, 0
		}
		switch c := b[i]; {
		case c == '"':
			// Outside of strings bytes that are not ASCII are no JSON.
			if seen&highs != 0 && !valid(b[from:i]) {
				issues |= BadUTF8
			}
			return i + 1, issues
		case c == '\\':
			n, issue := escape(b[i:])
			if n == 0 {
				return -1, 0
			}
			issues |= issue
			i += n
		case c < 0x20:
			issues |= RawControl
			i++
		default:
			seen |= uint64(c)
			i++
		}
	}
}

// escape measures the escape at the beginning of b, a surrogate pair as one; 0
// means that it is none.
func escape(b []byte) (int, Issue) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, 0
	case 'u':
		u, ok := hex4(b)
		switch {
		case !ok:
			return 0, 0
		case u == 0:
			return 6, NULEscape
		case u&0xfc00 == 0xd800:
			if low, ok := hex4(b[6:]); ok && low&0xfc00 == 0xdc00 {
				return 12, 0
			}
			return 6, LoneEscape
		case u&0xfc00 == 0xdc00:
			return 6, LoneEscape
		}
		return 6, 0
	}
	return 0, 0
}

// hex4 reads \uXXXX.
func hex4(b []byte) (u uint32, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case c-'0' < 10:
			c -= '0'
		case c|0x20-'a' < 6 && c >= 'A':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		u = u<<4 | uint32(c)
	}
	return u, true
}
