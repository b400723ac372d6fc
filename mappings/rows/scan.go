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
	s := scanner{b: unsafe.Slice(unsafe.StringData(text), len(text))}
	return s.scan()
}

type scanner struct {
	b      []byte
	i      int
	issues Issue
	depth  int
	stack  [MaxDepth/64 + 1]uint64 // a bit a level: 1 for an object
}

func (s *scanner) space() {
	for s.i < len(s.b) && s.b[s.i] <= ' ' {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

func (s *scanner) scan() Issue {
	b := s.b
value:
	s.space()
	if s.i >= len(b) {
		return Invalid
	}
	switch c := b[s.i]; c {
	case '{', '[':
		if s.depth == MaxDepth {
			return TooDeep
		}
		word, bit := s.depth/64, uint64(1)<<(s.depth%64)
		s.depth++
		s.i++
		s.space()
		if s.i >= len(b) {
			return Invalid
		}
		if c == '[' {
			s.stack[word] &^= bit
			if b[s.i] != ']' {
				goto value
			}
			s.i++
			s.depth--
			goto after
		}
		s.stack[word] |= bit
		if b[s.i] == '}' {
			s.i++
			s.depth--
			goto after
		}
		goto key
	case '"':
		if !s.str() {
			return Invalid
		}
	case 't':
		if !s.word("true") {
			return Invalid
		}
	case 'f':
		if !s.word("false") {
			return Invalid
		}
	case 'n':
		if !s.word("null") {
			return Invalid
		}
	case 'N':
		if !s.word("NaN") {
			return Invalid
		}
		s.issues |= NotFinite
	case 'I':
		if !s.word("Infinity") {
			return Invalid
		}
		s.issues |= NotFinite
	default:
		if !s.number() {
			return Invalid
		}
	}
after:
	s.space()
	if s.depth == 0 {
		if s.i != len(b) {
			return Invalid
		}
		return s.issues
	}
	if s.i >= len(b) {
		return Invalid
	}
	if level := s.depth - 1; s.stack[level/64]>>(level%64)&1 == 1 {
		switch b[s.i] {
		case ',':
			s.i++
			s.space()
			goto key
		case '}':
			s.i++
			s.depth--
			goto after
		}
		return Invalid
	}
	switch b[s.i] {
	case ',':
		s.i++
		goto value
	case ']':
		s.i++
		s.depth--
		goto after
	}
	return Invalid
key:
	if s.i >= len(b) || b[s.i] != '"' || !s.str() {
		return Invalid
	}
	s.space()
	if s.i >= len(b) || b[s.i] != ':' {
		return Invalid
	}
	s.i++
	goto value
}

func (s *scanner) word(w string) bool {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return false
	}
	s.i += len(w)
	return true
}

func (s *scanner) number() bool {
	if s.b[s.i] == '-' {
		s.i++
		if s.word("Infinity") {
			s.issues |= NotFinite
			return true
		}
	}
	if s.i < len(s.b) && s.b[s.i] == '0' {
		s.i++
	} else if !s.digits() {
		return false
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		if !s.digits() {
			return false
		}
	}
	if s.i < len(s.b) && s.b[s.i]|0x20 == 'e' {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		return s.digits()
	}
	return true
}

func (s *scanner) digits() bool {
	from := s.i
	for s.i < len(s.b) && s.b[s.i]-'0' < 10 {
		s.i++
	}
	return s.i > from
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

// str passes a string, from its quote to behind its other quote.
func (s *scanner) str() bool {
	b, i := s.b, s.i+1
	from, seen := i, uint64(0)
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
			return false
		}
		switch c := b[i]; {
		case c == '"':
			// Outside of strings bytes that are not ASCII are no JSON.
			if seen&highs != 0 && !valid(b[from:i]) {
				s.issues |= BadUTF8
			}
			s.i = i + 1
			return true
		case c == '\\':
			n, issue := escape(b[i:])
			if n == 0 {
				return false
			}
			s.issues |= issue
			i += n
		case c < 0x20:
			s.issues |= RawControl
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
