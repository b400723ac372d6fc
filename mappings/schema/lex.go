package schema

import (
	"fmt"
	"strings"
)

// kind is what a token is.
type kind int

const (
	word   kind = iota // a keyword or a name without quotes
	quoted             // a name in double quotes; text is the name
	str                // a string; text is its value
	number
	punct // one of ( ) , . ; or an operator
)

// token is a piece of a statement; src[start:end] is how it is written.
type token struct {
	kind       kind
	text       string
	start, end int
}

// split cuts SQL into the tokens of its statements, without the semicolons. It
// understands what pg_dump writes for tables, sequences, constraints and
// indexes, with comments already out; whatever else could hide a semicolon
// (dollar quotes, comments, escape strings, psql commands) is an error.
func split(src string) ([][]token, error) {
	var all [][]token
	var now []token
	depth := 0
	for i := 0; i < len(src); {
		if strings.IndexByte(" \t\r\n", src[i]) >= 0 {
			i++
			continue
		}
		t, err := next(src, i)
		if err != nil {
			return nil, err
		}
		i = t.end
		if t.kind == punct {
			switch t.text {
			case "(":
				depth++
			case ")":
				depth--
			}
			if depth < 0 {
				return nil, fmt.Errorf("line %d: a parenthesis is closed that was not opened", line(src, t.start))
			}
			if t.text == ";" {
				if depth != 0 {
					return nil, fmt.Errorf("line %d: the statement ends inside a parenthesis", line(src, t.start))
				}
				all = append(all, now)
				now = nil
				continue
			}
		}
		now = append(now, t)
	}
	if len(now) > 0 {
		return nil, fmt.Errorf("line %d: the last statement has no end", line(src, now[0].start))
	}
	return all, nil
}

// next reads the token that begins at i.
func next(src string, i int) (token, error) {
	c := src[i]
	end := i + 1
	switch {
	case isLetter(c):
		for end < len(src) && (isLetter(src[end]) || isDigit(src[end])) {
			end++
		}
		if end < len(src) && src[end] == '\'' { // an escape, bit or national string
			break
		}
		return token{word, src[i:end], i, end}, nil
	case isDigit(c):
		for end < len(src) && isDigit(src[end]) {
			end++
		}
		return token{number, src[i:end], i, end}, nil
	case c == '"' || c == '\'':
		text, end, ok := unquote(src, i)
		if !ok || strings.Contains(text, `\`) { // a backslash depends on a setting
			break
		}
		if c == '"' {
			return token{quoted, text, i, end}, nil
		}
		return token{str, text, i, end}, nil
	case strings.IndexByte("(),.;", c) >= 0:
		return token{punct, src[i:end], i, end}, nil
	case strings.IndexByte(operators, c) >= 0:
		for end < len(src) && strings.IndexByte(operators, src[end]) >= 0 {
			end++
		}
		op := src[i:end]
		if strings.Contains(op, "--") || strings.Contains(op, "/*") || strings.HasSuffix(op, "&") {
			break
		}
		return token{punct, op, i, end}, nil
	}
	rest, _, _ := strings.Cut(src[i:min(len(src), i+60)], "\n")
	return token{}, fmt.Errorf("line %d: not understood: %s", line(src, i), rest)
}

const operators = "+-*/<>=~!@#%^&|?:[]"

// unquote reads the string or quoted name that begins at i; a doubled quote
// stands for one.
func unquote(src string, i int) (text string, end int, ok bool) {
	quote := src[i]
	var b strings.Builder
	for i++; i < len(src); i++ {
		if src[i] != quote {
			b.WriteByte(src[i])
			continue
		}
		if i+1 == len(src) || src[i+1] != quote {
			return b.String(), i + 1, true
		}
		b.WriteByte(quote)
		i++
	}
	return "", 0, false
}

func isLetter(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func line(src string, at int) int { return 1 + strings.Count(src[:at], "\n") }
