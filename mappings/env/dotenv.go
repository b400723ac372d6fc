package env

import (
	"bytes"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// binding is one assignment of an env file.
type binding struct {
	name, value string
	line        int
	set         bool // false for a name without "="
}

var errEncoding = errors.New("the file is not UTF-8")

// parseEnv reads dotenv syntax the way python-dotenv does (compared with 1.2.4),
// which is what Open WebUI loads its own .env with: an "export " prefix, blanks
// around "=", single quotes (escapes \\ and \'), double quotes (\\ \' \" \a \b
// \f \n \r \t \v), quoted values over several lines, comments at the end of a
// line (in an unquoted value only after a blank), a byte order mark, and LF,
// CRLF or CR. ${NAME} and ${NAME:-default} are left for [expand], which python-dotenv
// applies to every value, however it is quoted.
//
// docker --env-file is simpler: it takes everything after "=" as it stands,
// quotes, comments and ${…} included, and knows no "export". A file that is
// used both ways must have neither.
//
// bad lists the lines that cannot be read (python-dotenv passes over them).
func parseEnv(text []byte) (out []binding, bad []int, err error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return nil, nil, errEncoding
	}
	p := &envReader{s: string(text), line: 1}
	for {
		p.skip(unicode.IsSpace)
		if p.rest() == "" {
			return out, bad, nil
		}
		line := p.line
		b, ok := p.binding()
		switch {
		case !ok:
			bad = append(bad, line)
			p.skip(func(r rune) bool { return r != '\n' && r != '\r' })
		case b.name != "":
			b.line = line
			out = append(out, b)
		}
	}
}

type envReader struct {
	s    string
	i    int
	line int
}

func (p *envReader) rest() string { return p.s[p.i:] }

func (p *envReader) advance(n int) string {
	t := p.s[p.i : p.i+n]
	p.line += strings.Count(t, "\n")
	p.i += n
	return t
}

// skip moves over the runes that f accepts, and gives them.
func (p *envReader) skip(f func(rune) bool) string {
	n := strings.IndexFunc(p.rest(), func(r rune) bool { return !f(r) })
	if n < 0 {
		n = len(p.rest())
	}
	return p.advance(n)
}

func blank(r rune) bool             { return unicode.IsSpace(r) && r != '\n' && r != '\r' }
func notEnd(r rune) bool            { return r != '\n' && r != '\r' }
func inName(r rune) bool            { return r != '=' && r != '#' && !unicode.IsSpace(r) }
func (p *envReader) at(c byte) bool { return p.i < len(p.s) && p.s[p.i] == c }

// binding reads up to the end of the line; false when the line has no sense.
func (p *envReader) binding() (b binding, ok bool) {
	if r := p.rest(); strings.HasPrefix(r, "export") {
		if t := strings.TrimLeftFunc(r[6:], blank); len(t) < len(r[6:]) {
			p.advance(len(r) - len(t))
		}
	}
	switch {
	case p.at('#'):
	case p.at('\''):
		end := strings.IndexByte(p.rest()[1:], '\'')
		if end < 1 {
			return b, false
		}
		b.name = p.advance(end + 2)[1 : end+1]
	default:
		if b.name = p.skip(inName); b.name == "" {
			return b, false
		}
	}
	p.skip(blank)
	if b.name != "" && p.at('=') {
		p.advance(1)
		b.set = true
		gap := p.skip(blank) != ""
		if b.value, ok = p.value(gap); !ok {
			return b, false
		}
	}
	p.skip(blank)
	if p.at('#') {
		p.skip(notEnd)
	}
	return b, p.rest() == "" || !notEnd(rune(p.s[p.i]))
}

func (p *envReader) value(gap bool) (string, bool) {
	switch {
	case p.at('\''):
		return p.quoted('\'', map[byte]string{'\\': `\`, '\'': "'"})
	case p.at('"'):
		return p.quoted('"', map[byte]string{'\\': `\`, '\'': "'", '"': `"`,
			'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v"})
	}
	v := p.skip(notEnd)
	if gap && strings.HasPrefix(v, "#") {
		return "", true
	}
	for i := range v {
		if v[i] == '#' && i > 0 {
			if r, _ := utf8.DecodeLastRuneInString(v[:i]); unicode.IsSpace(r) {
				v = v[:i]
				break
			}
		}
	}
	return strings.TrimRightFunc(v, unicode.IsSpace), true
}

// quoted reads to the closing quote; a backslash takes the character after it
// along.
func (p *envReader) quoted(q byte, escapes map[byte]string) (string, bool) {
	r, end := p.rest(), -1
	for i := 1; i < len(r); i++ {
		if r[i] == '\\' {
			i++
		} else if r[i] == q {
			end = i
			break
		}
	}
	if end < 0 {
		return "", false
	}
	raw := p.advance(end + 1)[1:end]
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\\' && i+1 < len(raw) {
			if e, ok := escapes[raw[i+1]]; ok {
				b.WriteString(e)
				i++
				continue
			}
		}
		b.WriteByte(raw[i])
	}
	return b.String(), true
}

// expand replaces ${NAME} and ${NAME:-default}; a default is used only when the
// name is unknown. missing lists the names that are unknown and have none.
func expand(v string, lookup func(string) (string, bool)) (out string, missing []string) {
	var b strings.Builder
	for {
		i := strings.Index(v, "${")
		if i < 0 {
			break
		}
		end := strings.IndexByte(v[i:], '}')
		if end < 0 {
			break
		}
		name, def, has := strings.Cut(v[i+2:i+end], ":")
		if has && !strings.HasPrefix(def, "-") {
			b.WriteString(v[:i+2])
			v = v[i+2:]
			continue
		}
		b.WriteString(v[:i])
		if got, ok := lookup(name); ok {
			b.WriteString(got)
		} else if has {
			b.WriteString(def[1:])
		} else {
			missing = append(missing, name)
		}
		v = v[i+end+1:]
	}
	b.WriteString(v)
	return b.String(), missing
}
