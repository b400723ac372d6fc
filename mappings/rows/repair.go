package rows

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// repair mends what Scan found in a text that is JSON apart from that. The
// rest of the text stays byte for byte.
func repair(text string) string {
	var out strings.Builder
	out.Grow(len(text))
	inside := false
	for i := 0; i < len(text); {
		c := text[i]
		if !inside {
			n := 1
			switch {
			case strings.HasPrefix(text[i:], "NaN"):
				n = len("NaN")
			case strings.HasPrefix(text[i:], "Infinity"):
				n = len("Infinity")
			case strings.HasPrefix(text[i:], "-Infinity"):
				n = len("-Infinity")
			default:
				inside = c == '"'
				out.WriteByte(c)
			}
			if n > 1 {
				out.WriteString("null")
			}
			i += n
			continue
		}
		switch {
		case c == '\\':
			n, issue := escape([]byte(text[i:min(len(text), i+12)]))
			if issue == 0 {
				out.WriteString(text[i : i+n])
			}
			i += n
		case c < 0x20:
			writeControl(&out, c)
			i++
		case c < utf8.RuneSelf:
			inside = c != '"'
			out.WriteByte(c)
			i++
		default:
			i += writeRune(&out, text[i:])
		}
	}
	return out.String()
}

// quote makes a JSON string of a text that is valid UTF-8 without NUL.
func quote(text string) string {
	var out strings.Builder
	out.Grow(len(text) + 2)
	out.WriteByte('"')
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			out.WriteByte('\\')
			out.WriteByte(c)
		case c < 0x20:
			writeControl(&out, c)
		default:
			out.WriteByte(c)
		}
	}
	out.WriteByte('"')
	return out.String()
}

func writeControl(out *strings.Builder, c byte) {
	switch c {
	case '\n':
		out.WriteString(`\n`)
	case '\t':
		out.WriteString(`\t`)
	case '\r':
		out.WriteString(`\r`)
	default:
		fmt.Fprintf(out, `\u%04x`, c)
	}
}

// writeRune writes the first character of a text and says how many bytes it
// takes: a surrogate pair in three bytes each becomes the character it means,
// half of one and any other byte that is not UTF-8 become U+FFFD.
func writeRune(out *strings.Builder, text string) int {
	if r, n := utf8.DecodeRuneInString(text); r != utf8.RuneError || n > 1 {
		out.WriteString(text[:n])
		return n
	}
	high, ok := surrogate(text)
	if !ok {
		out.WriteRune(utf8.RuneError)
		return 1
	}
	if low, ok := surrogate(text[3:]); ok && high < 0xdc00 && low >= 0xdc00 {
		out.WriteRune((high-0xd800)<<10 + (low - 0xdc00) + 0x10000)
		return 6
	}
	out.WriteRune(utf8.RuneError)
	return 3
}

// surrogate reads a surrogate that was encoded as if it were a character.
func surrogate(text string) (rune, bool) {
	if len(text) < 3 || text[0] != 0xed || text[1]&0xe0 != 0xa0 || text[2]&0xc0 != 0x80 {
		return 0, false
	}
	return 0xd000 | rune(text[1]&0x3f)<<6 | rune(text[2]&0x3f), true
}

// clean makes valid UTF-8 of a text.
func clean(text string) string {
	var out strings.Builder
	out.Grow(len(text))
	for i := 0; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf {
			out.WriteByte(c)
			i++
			continue
		}
		i += writeRune(&out, text[i:])
	}
	return out.String()
}
