package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// gap stands in a message for what differs from one time to another.
const gap = "…"

var (
	verbs = regexp.MustCompile(`%[-+ #0-9.*\[\]]*[a-zA-Z]`)
	gaps  = regexp.MustCompile(`"?…"?(…)*`)
)

// programTexts are the texts in the program's own source, with a gap for every value that
// is put in, whether by a verb or by +; and the constants of type Reason.
func programTexts(tb testing.TB) (texts []string, reasons map[string]string) {
	tb.Helper()
	reasons = map[string]string{}
	for _, dir := range []string{"cmd", "mappings", "pipeline", "sink", "source"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "pipetest") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.BinaryExpr:
					texts = append(texts, joined(n))
				case *ast.BasicLit:
					texts = append(texts, joined(n))
				case *ast.ValueSpec:
					if kind, _ := n.Type.(*ast.SelectorExpr); kind != nil && kind.Sel.Name == "Reason" || isIdent(n.Type, "Reason") {
						for i, v := range n.Values {
							reasons[strings.Trim(joined(v), `"`)] = filepath.ToSlash(path) + " " + n.Names[i].Name
						}
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	return texts, reasons
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// joined is the text of an expression of strings.
func joined(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return joined(e.X) + joined(e.Y)
		}
	case *ast.ParenExpr:
		return joined(e.X)
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return strings.ReplaceAll(verbs.ReplaceAllString(s, gap), "%%", "%")
		}
	}
	return gap
}

// withGaps writes gaps in one way, quoted or not.
func withGaps(s string) string { return gaps.ReplaceAllString(s, gap) }

// What the pages and the program's own texts say of each other is so.
func TestTexts(t *testing.T) {
	t.Parallel()
	texts, reasons := programTexts(t)
	t.Run("messages", func(t *testing.T) { troubleshooting(t, texts) })
	t.Run("options", func(t *testing.T) { optionsInTexts(t, texts) })
	t.Run("reasons", func(t *testing.T) { reasonsAreExplained(t, reasons) })
}

// Every message that docs/troubleshooting.md quotes is one that the program can
// print.
func troubleshooting(t *testing.T, texts []string) {
	all := withGaps(strings.Join(texts, "\x00"))
	n := 0
	for _, span := range pages(t)["docs/troubleshooting.md"].spans {
		if span.row < 2 || span.cell != 0 {
			continue
		}
		message := strings.Trim(withGaps(span.text), gap+" ")
		if n++; len(message) < 5 || !strings.Contains(all, message) {
			t.Errorf("under %q: no text of the program has %q", span.head, span.text)
		}
	}
	if n < 80 {
		t.Errorf("%d messages were found on the page", n)
	}
}

// elsewhere are options of other programs that the program's own texts name.
var elsewhere = map[string]bool{
	"--bucket": true, "--prefix": true, "--data-dir": true, "--host": true, "--port": true, "--env-file": true, "--filter": true, "--rm": true, "--set": true, "--set-string": true, "--skipApiVersionCheck": true,
	"--x-s3": true, // the end of a bucket's name
}

var anOption = regexp.MustCompile(`(?:^|[\s("'/])--([a-zA-Z][a-zA-Z0-9-]*)`)

// Every option that a message, a hint or a help text names is one that the parser
// knows.
func optionsInTexts(t *testing.T, texts []string) {
	known := map[string]bool{}
	for _, s := range commandLine(t).all() {
		for _, f := range s.every() {
			known[f] = true
		}
	}
	named := map[string]bool{}
	for _, text := range texts {
		for _, m := range anOption.FindAllStringSubmatch(text, -1) {
			option := "--" + m[1]
			if strings.HasSuffix(option, "-") {
				continue // put together with the rest elsewhere
			}
			named[option] = true
			if !known[option] && !elsewhere[option] {
				t.Errorf("%q: there is no option %s", text, option)
			}
		}
	}
	if len(named) < 20 {
		t.Errorf("%d options found", len(named))
	}
	for option := range elsewhere {
		if !named[option] {
			t.Errorf("%s is named no more", option)
		}
	}
}

// Reasons of findings, whose sentence says all; nothing is accepted or listed by
// them.
var ofFindings = map[string]bool{
	"bm25-staging": true, "cache-copied": true, "cache-in-place": true, "cache-unknown": true, "chroma-layout": true, "chroma-space": true,
	"deleted-data": true, "dimension": true, "empty-file": true, "file-system": true, "foreign": true, "foreign-records": true, "freshness": true,
	"id-collision": true, "incomplete": true, "in-folder": true, "in-memory": true, "infinite": true, "inserted-twice": true, "link": true, "milvus-layout": true,
	"misplaced": true, "missing-file": true, "network-file-system": true, "no-row": true, "no-rows": true, "not-moved": true, "not-writable": true,
	"other-database": true, "path-elsewhere": true, "path-kept": true, "path-waits": true, "pgcrypto": true, "pgvector-extension": true,
	"pgvector-layout": true, "pinecone-index": true, "qdrant-layout": true, "qdrant-other-layout": true, "qdrant-status": true, "size": true,
	"space": true, "target-in-use": true, "unfinished-uploads": true, "unit-length": true, "vector-metric": true, "volatile": true,
}

// Every reason that a line of the quarantine or of the ledger may have, and every
// one that may be agreed to, is explained on a page.
func reasonsAreExplained(t *testing.T, reasons map[string]string) {
	explained := map[string]bool{}
	for _, p := range pages(t) {
		for _, span := range p.spans {
			explained[span.text] = true
			for _, word := range strings.FieldsFunc(span.text, func(r rune) bool { return r == ' ' || r == ',' }) {
				explained[word] = true
			}
		}
	}
	if len(reasons) < 60 {
		t.Errorf("%d reasons found", len(reasons))
	}
	for reason, where := range reasons {
		if !explained[reason] && !ofFindings[reason] {
			t.Errorf("no page explains %s (%s)", reason, where)
		}
	}
	for reason := range ofFindings {
		if reasons[reason] == "" || explained[reason] {
			t.Errorf("%s is no reason any more, or explained", reason)
		}
	}
}
