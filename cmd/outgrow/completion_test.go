package main

import (
	"bytes"
	"context"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvdan.cc/sh/v3/syntax"
)

// commandLine is the command line as the parser knows it.
func commandLine(tb testing.TB) surface {
	tb.Helper()
	parser, err := newParser(&CLI{}, io.Discard, io.Discard, func(int) {})
	if err != nil {
		tb.Fatal(err)
	}
	return surfaceOf(parser.Model.Node)
}

// every lists what may be typed for flags, sorted.
func (s surface) every() (out []string) {
	for _, f := range s.flags {
		out = append(out, spellings(f)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// printed is what a command prints that needs no deployment.
func printed(tb testing.TB, args ...string) string {
	tb.Helper()
	var out, stderr bytes.Buffer
	if code := run(context.Background(), args, nil, &out, &stderr); code != 0 || stderr.Len() > 0 {
		tb.Fatalf("outgrow %v: exit %d: %s", args, code, stderr.String())
	}
	return out.String()
}

// What the model gives is what --help tells: a few of it, so that a walk that
// finds nothing is found.
func TestSurface(t *testing.T) {
	t.Parallel()
	all := map[string][]string{}
	for _, s := range commandLine(t).all() {
		all[s.path()] = s.every()
	}
	for path, want := range map[string][]string{"": {"--help", "-h"}, "/plan": {"--from", "--stopped", "--no-stopped", "--help"}, "/env": {"--format", "--help"}, "/env/init": {"--out"}, "/files/revert": {"--to"}, "/completion": {"--help"}} {
		for _, w := range want {
			if !slices.Contains(all[path], w) {
				t.Errorf("%q lacks %s: %v", path, w, all[path])
			}
		}
	}
}

// bash completes every command and every flag, a choice, a file and a folder.
func TestBashCompletion(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err) // the Makefile needs it, too
	}
	root := commandLine(t)
	var program strings.Builder
	program.WriteString(printed(t, "completion", "bash"))
	if out, err := bashRuns(bash, t.TempDir(), program.String(), "-n"); err != nil {
		t.Fatalf("bash -n: %v: %s", err, out)
	}
	program.WriteString("try() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _outgrow; echo \"${COMPREPLY[*]}\"; }\nmkdir a-folder; touch a.env\n")
	var want []string
	expect := func(line, reply string) {
		program.WriteString("try " + line + "\n")
		want = append(want, reply)
	}
	for _, s := range root.all() {
		line := strings.Join(append([]string{"outgrow"}, s.words...), " ")
		var flags []string
		for _, f := range s.flags {
			flags = append(flags, spellings(f)...)
		}
		expect(line+" -", strings.Join(flags, " "))
		expect(line+" --json --", strings.Join(slices.DeleteFunc(flags, func(f string) bool { return !strings.HasPrefix(f, "--") }), " "))
		if len(s.subs) > 0 {
			expect(line+" ''", strings.Join(subNames(s.subs), " "))
		}
	}
	expect("outgrow pla", "plan")
	expect("outgrow plan --onl", "--only")
	expect("outgrow plan --only files --onl", "--only")
	expect("outgrow plan --only v", "vectors")
	expect("outgrow plan --only = v", "vectors")
	expect("outgrow plan --only =", "rows vectors files")
	expect("outgrow plan --to a.", "a.env")
	expect("outgrow plan --state a", "a-folder")
	expect("outgrow plan --writers a", "")
	expect("outgrow replay --to a.env a.", "a.env")
	expect("outgrow completion z", "zsh")
	out, err := bashRuns(bash, t.TempDir(), program.String())
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if !slices.Equal(got, want) {
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Fatalf("line %d of %d and %d: got %q, want %q", i, len(got), len(want), got[min(i, len(got)-1)], want[min(i, len(want)-1)])
			}
		}
	}
}

func bashRuns(bash, dir, text string, flags ...string) (string, error) {
	cmd := exec.Command(bash, append([]string{"--norc"}, flags...)...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// zsh's script is one that zsh reads, with a function for every command that has
// every flag, and leads to the commands below.
func TestZshCompletion(t *testing.T) {
	t.Parallel()
	text := printed(t, "completion", "zsh")
	if _, err := syntax.NewParser(syntax.Variant(syntax.LangZsh)).Parse(strings.NewReader(text), "_outgrow"); err != nil {
		t.Fatal(err)
	}
	for _, s := range commandLine(t).all() {
		_, body, found := strings.Cut(text, "\n"+s.zshName()+"() {\n")
		body, _, ended := strings.Cut(body, "\n}\n")
		if !found || !ended {
			t.Errorf("there is no function of %q", s.path())
			continue
		}
		for _, f := range s.every() {
			if !strings.Contains(body, "'"+f+"[") && !strings.Contains(body, "'"+f+"=[") && !strings.Contains(body, "'*"+f+"=[") {
				t.Errorf("%q lacks %s:\n%s", s.path(), f, body)
			}
		}
		for _, sub := range s.subs {
			if !strings.Contains(body, "("+sub.name()+") "+sub.zshName()+" ") || !strings.Contains(body, "'"+sub.name()+":") {
				t.Errorf("%q does not lead to %s", s.path(), sub.name())
			}
		}
	}
}

// fish's script has a line for every command and every flag, and its quotes are
// closed.
func TestFishCompletion(t *testing.T) {
	t.Parallel()
	text := printed(t, "completion", "fish")
	lines := map[string]bool{}
	for line := range strings.Lines(text) {
		if n := strings.Count(strings.NewReplacer(`\\`, "", `\'`, "").Replace(line), "'"); n%2 != 0 {
			t.Errorf("a quote is left open: %s", line)
		}
		if at, rest, ok := strings.Cut(line, " -n '__outgrow_at \\'"); ok && at == "complete -c outgrow" {
			path, rest, _ := strings.Cut(rest, `\'' `)
			if words := strings.Fields(rest); len(words) > 1 {
				lines[path+" "+words[0]+" "+words[1]] = true
			}
		}
	}
	for _, s := range commandLine(t).all() {
		for _, f := range s.every() {
			option := "-l " + strings.TrimPrefix(f, "--")
			if !strings.HasPrefix(f, "--") {
				option = "-s " + strings.TrimPrefix(f, "-")
			}
			if !lines[s.path()+" "+option] {
				t.Errorf("%q lacks %s", s.path(), f)
			}
		}
		for _, sub := range s.subs {
			if !lines[s.path()+" -a "+sub.name()] {
				t.Errorf("%q does not lead to %s", s.path(), sub.name())
			}
		}
	}
}

// The manual has every command and flag, is the same every time, and no line of it
// is a request by mistake.
func TestManual(t *testing.T) {
	t.Parallel()
	text := printed(t, "man")
	if again := printed(t, "man"); again != text {
		t.Error("the manual differs from one time to the next")
	}
	requests := map[string]bool{".TH": true, ".SH": true, ".SS": true, ".PP": true, ".TP": true, ".B": true, ".I": true, ".RI": true, ".nf": true, ".fi": true, ".RS": true, ".RE": true}
	for line := range strings.Lines(text) {
		if word, _, _ := strings.Cut(strings.TrimSpace(line), " "); (strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'")) && !requests[word] {
			t.Errorf("no request: %s", line)
		}
	}
	plain := strings.ReplaceAll(text, `\-`, "-")
	for _, s := range commandLine(t).all()[1:] {
		_, section, found := strings.Cut(plain, `.SS "outgrow `+strings.Join(s.words, " "))
		section, _, _ = strings.Cut(section, "\n.S")
		if !found {
			t.Errorf("there is no %q", s.path())
		}
		for _, f := range s.flags {
			if f.Name != "help" && !strings.Contains(section, "--"+f.Name) {
				t.Errorf("%q lacks --%s", s.path(), f.Name)
			}
		}
		if len(s.subs) == 0 && !strings.Contains(section, "\nExamples:\n") {
			t.Errorf("%q has no examples", s.path())
		}
	}
}

// A shell that is not known is refused by name, and each command above has its
// examples in --help.
func TestExamples(t *testing.T) {
	t.Parallel()
	var out, stderr bytes.Buffer
	if code := run(context.Background(), []string{"completion", "tcsh"}, nil, &out, &stderr); code != 2 || !strings.Contains(stderr.String(), "tcsh") {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
	known := map[string]bool{}
	for _, s := range commandLine(t).all()[1:] {
		known[s.name()] = true
		if len(examples[s.name()]) == 0 && len(s.subs) == 0 {
			t.Errorf("%s has no examples", filepath.Join(s.words...))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(examples)) {
		if !known[name] {
			t.Errorf("examples of %s, which is no command", name)
		}
	}
}
