package schema

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// public is the schema that the files name before every relation.
const public = "public"

// parse reads a whole file. A statement, a clause or a type it does not know
// is an error, never skipped.
func parse(src string) (*Schema, error) {
	statements, err := split(src)
	if err != nil {
		return nil, err
	}
	s := &Schema{}
	for _, tokens := range statements {
		if len(tokens) == 0 {
			return nil, fmt.Errorf("a statement is empty")
		}
		p := &parser{src: src, toks: tokens, schema: s}
		st := p.statement()
		if p.err == nil && p.i < len(p.toks) {
			p.fail("the end of the statement")
		}
		if p.err == nil {
			st.parts = p.cut()
		}
		if p.err != nil {
			return nil, p.err
		}
		s.statements = append(s.statements, st)
	}
	for _, seq := range s.Sequences {
		if seq.Table == "" {
			return nil, fmt.Errorf("sequence %s belongs to no column", seq.Name)
		}
	}
	return s, nil
}

// parser reads one statement. After the first error every method does nothing.
type parser struct {
	src    string
	toks   []token
	i      int
	schema *Schema
	err    error
}

func (p *parser) fail(wanted string) {
	if p.err != nil {
		return
	}
	at, got := p.toks[len(p.toks)-1], "the end"
	if p.i < len(p.toks) {
		at = p.toks[p.i]
		got = p.src[at.start:at.end]
	}
	p.err = fmt.Errorf("line %d: %s where %s was expected", line(p.src, at.start), got, wanted)
}

// is tells whether the next tokens are these words or signs.
func (p *parser) is(texts ...string) bool {
	if p.err != nil || p.i+len(texts) > len(p.toks) {
		return false
	}
	for n, text := range texts {
		t := p.toks[p.i+n]
		if t.text != text || t.kind != word && t.kind != punct {
			return false
		}
	}
	return true
}

// skip steps over these words or signs if they come next.
func (p *parser) skip(texts ...string) bool {
	if !p.is(texts...) {
		return false
	}
	p.i += len(texts)
	return true
}

func (p *parser) need(texts ...string) {
	if !p.skip(texts...) {
		p.fail(strings.Join(texts, " "))
	}
}

// name reads a name, quoted or not.
func (p *parser) name() string {
	if p.err != nil || p.i >= len(p.toks) || p.toks[p.i].kind != word && p.toks[p.i].kind != quoted {
		p.fail("a name")
		return ""
	}
	p.i++
	return p.toks[p.i-1].text
}

// relation reads public.name.
func (p *parser) relation() string {
	p.need(public, ".")
	return p.name()
}

// table reads the name of a table that was created before.
func (p *parser) table() *Table {
	name := p.relation()
	if t, ok := p.schema.Table(name); ok {
		return t
	}
	p.fail("the name of a known table before")
	return &Table{}
}

// columns reads (name, ...), columns of a known table.
func (p *parser) columns(t *Table) []string {
	var all []string
	for p.need("("); p.err == nil; p.need(",") {
		name := p.name()
		if _, ok := t.Column(name); !ok {
			p.fail("a column of " + t.Name + " before")
		}
		all = append(all, name)
		if p.skip(")") {
			break
		}
	}
	return all
}

// expr steps over tokens up to one of the stops (words or signs outside
// parentheses), or to the end, and gives the text between.
func (p *parser) expr(stops ...string) string {
	first, depth := p.i, 0
	for ; p.err == nil && p.i < len(p.toks); p.i++ {
		t := p.toks[p.i]
		if depth == 0 && (t.kind == word || t.kind == punct) && slices.Contains(stops, t.text) {
			break
		}
		if t.kind == punct && t.text == "(" {
			depth++
		}
		if t.kind == punct && t.text == ")" {
			depth--
		}
	}
	if p.err != nil || p.i == first {
		p.fail("an expression")
		return ""
	}
	return p.src[p.toks[first].start:p.toks[p.i-1].end]
}

// number reads a whole number.
func (p *parser) number() int {
	if p.err == nil && p.i < len(p.toks) && p.toks[p.i].kind == number {
		if n, err := strconv.Atoi(p.toks[p.i].text); err == nil {
			p.i++
			return n
		}
	}
	p.fail("a number")
	return 0
}

// cut takes "public." out of the statement, where it is the schema of a
// relation or stands in the string of a regclass. It is an error anywhere
// else, and so is another schema.
func (p *parser) cut() []part {
	var parts []part
	from := p.toks[0].start
	for i, t := range p.toks {
		dot := i+1 < len(p.toks) && p.toks[i+1].kind == punct && p.toks[i+1].text == "."
		switch {
		case (t.kind == word || t.kind == quoted) && t.text == public:
			if !dot || t.kind == quoted {
				p.i = i
				p.fail("no name " + public)
				return nil
			}
			parts = append(parts, part{p.src[from:t.start], false})
			from = p.toks[i+1].end
		case dot && !(i >= 2 && p.toks[i-1].text == "." && p.toks[i-2].text == public):
			p.i = i
			p.fail("no schema but " + public)
			return nil
		case t.kind == str && strings.Contains(t.text, public+"."):
			p.i = i + 1
			if !strings.HasPrefix(t.text, public+".") || !p.is("::", "regclass") {
				p.fail("a regclass before")
				return nil
			}
			parts = append(parts, part{p.src[from : t.start+1], true})
			from = t.start + 1 + len(public) + 1
		}
	}
	return append(parts, part{p.src[from:p.toks[len(p.toks)-1].end], false})
}
