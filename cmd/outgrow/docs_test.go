package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	tables "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// docPage is a page for users: README.md, or one of docs.
type docPage struct {
	name    string // docs/plan.md
	blocks  []docBlock
	spans   []docSpan
	links   []string
	anchors map[string]bool
}

// docBlock is a code block; docSpan is code in a sentence or in a table.
type docBlock struct {
	line int
	text string
}

type docSpan struct {
	text string
	row  int // of its table, from 1; 0 outside of tables
	cell int // its column there, from 0
	head string
}

// pages reads all pages for users, by name.
func pages(tb testing.TB) map[string]*docPage {
	tb.Helper()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) < 10 {
		tb.Fatalf("%d pages, %v", len(files), err)
	}
	out := map[string]*docPage{}
	for _, file := range append(files, "../../README.md") {
		src, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		p := readPage(strings.TrimPrefix(file, "../../"), src)
		out[p.name] = p
	}
	return out
}

func readPage(name string, src []byte) *docPage {
	p := &docPage{name: name, anchors: map[string]bool{}}
	head := ""
	row, cell := 0, 0
	doc := goldmark.New(goldmark.WithExtensions(extension.Table)).Parser().Parse(text.NewReader(src))
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			if n.Kind() == tables.KindTable {
				row = 0
			}
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.CodeBlock, *ast.FencedCodeBlock:
			b := docBlock{}
			for _, s := range n.Lines().Sliced(0, n.Lines().Len()) {
				if b.line == 0 {
					b.line = 1 + strings.Count(string(src[:s.Start]), "\n")
				}
				b.text += string(s.Value(src))
			}
			p.blocks = append(p.blocks, b)
		case *ast.Heading:
			head = plainText(n, src)
			p.anchors[anchor(head)] = true
		case *tables.TableRow, *tables.TableHeader:
			row, cell = row+1, -1
		case *tables.TableCell:
			cell++
		case *ast.Link:
			p.links = append(p.links, string(n.Destination))
		case *ast.CodeSpan:
			p.spans = append(p.spans, docSpan{text: plainText(n, src), row: row, cell: cell, head: head})
		}
		return ast.WalkContinue, nil
	})
	return p
}

// plainText is what stands in a node, without its marks.
func plainText(n ast.Node, src []byte) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if t, ok := c.(*ast.Text); ok {
			b.Write(t.Segment.Value(src))
			if t.SoftLineBreak() {
				b.WriteByte(' ')
			}
			continue
		}
		b.WriteString(plainText(c, src))
	}
	return b.String()
}

// anchor is what GitHub makes of a heading.
func anchor(head string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		case r == ' ':
			return '-'
		}
		return -1
	}, head)
}

// docCall is one call of outgrow in a page.
type docCall struct {
	place string // docs/plan.md:3
	by    string // the program that outgrow is an argument of: docker
	env   []string
	args  []string
	out   string // the file that standard output goes to
}

// text is how docRuns names the call.
func (c docCall) text() string {
	words := slices.Clone(c.env)
	if c.by != "" {
		words = append(words, c.by)
	}
	return strings.Join(append(words, c.args...), " ")
}

var (
	ownScreen = regexp.MustCompile(`^(bin/)?outgrow [a-z]+ ·`)        // the first line of what a command prints
	mentions  = regexp.MustCompile(`(^|[\s|(/;&])outgrow +(-|[a-z])`) // in no quotes, which are another language's
	optional  = regexp.MustCompile(`\s*\[(-[^\]]*)\]`)
	either    = regexp.MustCompile(`\b([a-z]+)(\|[a-z]+)+\b`)
	some      = regexp.MustCompile(`\bN\b`)
)

// calls finds the calls of outgrow in the page's blocks. Where a block shows a
// prompt, the other lines are what was printed. A line with options in brackets
// stands for two calls: without them, and with all. A line that names outgrow and
// calls it in no way that is understood is an error. Whole calls in sentences come
// last, if no block has them.
func (p *docPage) calls(tb testing.TB) (out []docCall) {
	tb.Helper()
	check := parses(tb)
	for _, b := range p.blocks {
		prompt := strings.HasPrefix(b.text, "$ ") || strings.Contains(b.text, "\n$ ")
		lines := strings.Split(strings.ReplaceAll(b.text, "\\\n", strings.Repeat(" ", 4)), "\n")
		for i, line := range lines {
			line = strings.TrimSpace(line)
			shown, is := strings.CutPrefix(line, "$ ")
			if prompt != is || ownScreen.MatchString(line) || !mentions.MatchString(line) || strings.HasPrefix(line, "#") {
				continue
			}
			place, before := fmt.Sprintf("%s:%d", p.name, b.line+i), len(out)
			if optional.MatchString(shown) {
				shown = some.ReplaceAllString(either.ReplaceAllString(shown, "$1"), "2")
				out = append(out, shellCalls(tb, place, optional.ReplaceAllString(shown, ""))...)
				shown = optional.ReplaceAllString(shown, " $1")
			}
			if out = append(out, shellCalls(tb, place, shown)...); len(out) == before {
				tb.Errorf("%s: this names outgrow and is no call that is understood: %s", place, line)
			}
		}
	}
	for _, span := range p.spans {
		if !strings.HasPrefix(span.text, "outgrow ") || !strings.Contains(span.text, " -") {
			continue // a command's name
		}
		for _, c := range shellCalls(tb, p.name+": `"+span.text+"`", span.text) {
			known := slices.ContainsFunc(out, func(o docCall) bool { return o.text() == c.text() })
			if !known && check(c) == nil {
				out = append(out, c)
			}
		}
	}
	return out
}

// parses gives what says what the parser has against a call.
func parses(tb testing.TB) func(docCall) error {
	tb.Helper()
	parser, err := newParser(&CLI{}, io.Discard, io.Discard, func(int) {})
	if err != nil {
		tb.Fatal(err)
	}
	return func(c docCall) error {
		_, err := parser.Parse(c.args)
		return err
	}
}

// shellCalls reads a line as a shell does.
func shellCalls(tb testing.TB, place, line string) (out []docCall) {
	tb.Helper()
	file, err := syntax.NewParser().Parse(strings.NewReader(line), place)
	if err != nil {
		tb.Errorf("%s: no shell reads %q: %v", place, line, err)
		return nil
	}
	// What another call prints stands for nothing here; that call is found by itself.
	nothing := &expand.Config{
		CmdSubst:  func(io.Writer, *syntax.CmdSubst) error { return nil },
		ProcSubst: func(*syntax.ProcSubst) (string, error) { return os.DevNull, nil },
	}
	word := func(w *syntax.Word) string {
		s, err := expand.Literal(nothing, w)
		if err != nil {
			tb.Errorf("%s: %v", place, err)
		}
		return s
	}
	syntax.Walk(file, func(n syntax.Node) bool {
		stmt, ok := n.(*syntax.Stmt)
		if !ok {
			return true
		}
		call, ok := stmt.Cmd.(*syntax.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		var words []string
		for _, a := range call.Args {
			words = append(words, word(a))
		}
		at := slices.IndexFunc(words, func(w string) bool { return filepath.Base(w) == "outgrow" })
		if at < 0 || at == len(words)-1 {
			return true
		}
		c := docCall{place: place, args: words[at+1:]}
		if at > 0 {
			c.by = words[0]
		}
		for _, a := range call.Assigns {
			c.env = append(c.env, a.Name.Value+"="+word(a.Value))
		}
		for _, r := range stmt.Redirs {
			if r.Op == syntax.RdrOut {
				c.out = word(r.Word)
			}
		}
		out = append(out, c)
		return true
	})
	return out
}

// Every command line of the pages, and every example of --help, is one that the
// parser takes.
func TestDocsCommands(t *testing.T) {
	t.Parallel()
	check := parses(t)
	taken := func(c docCall) {
		if err := check(c); err != nil {
			t.Errorf("%s: outgrow %s: %v", c.place, c.text(), err)
		}
	}
	for name, p := range pages(t) {
		calls := p.calls(t)
		if _, runs := docRuns()[name]; runs != (len(calls) > 0) {
			t.Errorf("%s has %d calls of outgrow; docRuns says otherwise", name, len(calls))
		}
		for _, c := range calls {
			taken(c)
		}
	}
	for name, lines := range examples {
		for _, line := range lines {
			calls := shellCalls(t, "the examples of "+name, line)
			if len(calls) == 0 {
				t.Errorf("an example of %s does not call outgrow: %s", name, line)
			}
			for _, c := range calls {
				taken(c)
			}
		}
	}
}

// foreign are options of other programs that pages name by themselves.
var foreign = map[string]string{"--env-file": "docker", "--network": "docker"}

// Every option that a page names is one of the command it stands with, or of some
// command where it stands alone.
func TestDocsOptions(t *testing.T) {
	t.Parallel()
	all := commandLine(t).all()
	of := map[string][]string{}
	var any []string
	for _, s := range all {
		of[s.path()] = s.every()
		any = append(any, s.every()...)
	}
	found := 0
	for name, p := range pages(t) {
		if name == "docs/development.md" {
			continue // of scripts
		}
		for _, span := range p.spans {
			words := strings.Fields(span.text)
			allowed := any
			switch {
			case len(words) == 0:
				continue
			case strings.HasPrefix(words[0], "--"):
			case words[0] == "outgrow" || words[0] == "bin/outgrow":
				path := ""
				for _, w := range words[1:] {
					if of[path+"/"+w] == nil {
						break
					}
					path += "/" + w
				}
				if path == "" && len(words) > 1 && !strings.HasPrefix(words[1], "-") {
					t.Errorf("%s: `%s`: there is no such command", name, span.text)
				}
				allowed = of[path]
			case of["/"+words[0]] != nil && len(words) > 1: // `migrate --only files`
				allowed = of["/"+words[0]]
			default:
				continue
			}
			for _, w := range words {
				option, _, _ := strings.Cut(w, "=")
				if !strings.HasPrefix(w, "--") || foreign[option] != "" {
					continue
				}
				if found++; !slices.Contains(allowed, option) {
					t.Errorf("%s: `%s`: there is no option %s", name, span.text, option)
				}
			}
		}
	}
	if found < 100 {
		t.Errorf("%d options found in all pages", found)
	}
}

// Every link between pages leads to a file and a heading that is there, README
// leads to every page, and names every command.
func TestDocsLinks(t *testing.T) {
	t.Parallel()
	all := pages(t)
	for name, p := range all {
		for _, link := range p.links {
			if strings.Contains(link, "://") {
				continue
			}
			file, head, _ := strings.Cut(link, "#")
			to := name
			if file != "" {
				to = filepath.Join(filepath.Dir(name), file)
			}
			if _, err := os.Stat(filepath.Join("../..", to)); err != nil {
				t.Errorf("%s: the link %s: %v", name, link, err)
			}
			if q := all[to]; head != "" && (q == nil || !q.anchors[head]) {
				t.Errorf("%s: the link %s leads to no heading", name, link)
			}
		}
	}
	readme := all["README.md"]
	for name := range all {
		if name != "README.md" && !slices.ContainsFunc(readme.links, func(l string) bool { return strings.HasPrefix(l, name) }) {
			t.Errorf("README does not lead to %s", name)
		}
	}
	for _, s := range commandLine(t).subs {
		if !slices.ContainsFunc(readme.spans, func(d docSpan) bool { return d.row > 0 && strings.Fields(d.text)[0] == s.name() }) {
			t.Errorf("no table of README names the command %s", s.name())
		}
	}
}
