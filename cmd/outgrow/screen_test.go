package main

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every command's help has examples and the exit codes.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, s := range commandLine(t).all() {
		args := append(slices.Clone(s.words), "--help")
		var out, err strings.Builder
		if code := run(context.Background(), args, nil, &out, &err); code != 0 {
			t.Errorf("outgrow %v: exit %d", args, code)
		}
		if !strings.Contains(out.String(), "Exit codes: 0 done and equal") || !strings.Contains(out.String(), "130 stopped") {
			t.Errorf("outgrow %v names no exit codes:\n%s", args, out.String())
		}
		if len(s.words) > 0 && len(s.subs) == 0 && !strings.Contains(out.String(), "\nExamples:\n  1. ") {
			t.Errorf("outgrow %v has no example:\n%s", args, out.String())
		}
		for _, line := range strings.Split(out.String(), "\n") {
			if len([]rune(line)) > 130 {
				t.Errorf("outgrow %v: a line of %d characters: %s", args, len([]rune(line)), line)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	var out, stderr strings.Builder
	if code := run(context.Background(), []string{"version", "--json"}, nil, &out, &stderr); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	var v struct {
		Version string
		Heads   []struct {
			Head     string
			Releases []string
		}
	}
	if err := json.Unmarshal([]byte(out.String()), &v); err != nil {
		t.Fatal(err)
	}
	if v.Version == "" || len(v.Heads) < 20 || v.Heads[len(v.Heads)-1].Head != head {
		t.Errorf("%+v", v)
	}
}

// normal replaces what differs from run to run.
func normal(l *lab, text string) string {
	text = strings.NewReplacer(l.from, "DATA", l.share, "SHARE", l.dir, "DIR").Replace(text)
	for _, r := range []struct{ pattern, with string }{
		{`run [0-9a-f]{4}`, "run ID"},
		{`last write [0-9]+ (s|min|h|days) ago`, "last write AGE ago"},
		{`127\.0\.0\.1:[0-9]+/outgrow_[0-9a-f]+ PostgreSQL [0-9]+`, "HOST/DATABASE PostgreSQL N"},
		{` in [0-9:]+\n`, " in TIME\n"},
		{`\([0-9]+(:[0-9]+)+\)`, "(TIME)"},
		{`(?m)^(rows|vectors|files) [0-9]+ %.*\n`, ""},
	} {
		text = regexp.MustCompile(r.pattern).ReplaceAllString(text, r.with)
	}
	return text
}

// The first screen says what is moved where, whether users stay signed in, and
// what is safe; the last one what was done and what comes next.
func TestScreens(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	first := normal(l, l.migrate().exits(0).out)
	for _, line := range []string{
		`(?m)^outgrow migrate · run ID$`,
		`(?m)^from  DATA   Open WebUI 0\.12\.1 to 0\.12\.4 \(schema 0bd252b206fb\), stopped: last write AGE ago$`,
		`(?m)^      webui\.db 7\.2 MB \+ wal 20\.6 kB · chroma 45 collections, 674 vectors · 30 uploads \(282 kB\)$`,
		`(?m)^to    HOST/DATABASE PostgreSQL N · pgvector vector\(1536\), ivfflat · files: copied to SHARE$`,
		`(?m)^key   found \(WEBUI_SECRET_KEY\)`,
		`(?m)^The source is only read\. The old app may be started again at any time\.$`,
		`(?m)^done    2,972 rows, 674 vectors, 34 files in TIME$`,
		`(?m)^changed 30 values of rows/file: path \(in the ledger\)$`,
		`(?m)^report  DIR/scaled\.outgrow/report\.html$`,
		`(?m)^next    outgrow verify --from DATA --to DIR/scaled\.env$`,
	} {
		if !regexp.MustCompile(line).MatchString(first) {
			t.Errorf("no line %s in\n%s", line, first)
		}
	}
	if again := l.migrate().exits(0).out; !strings.Contains(normal(l, again), "outgrow migrate · run ID, resumed, nothing is done twice") {
		t.Errorf("the second run's first screen:\n%s", again)
	}
}

// With --json standard output is JSON lines and nothing else.
func TestJSON(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	withOrphans(l)
	to := []string{"--to", l.env, "--json"}
	for _, c := range []struct {
		code int
		args []string
		want string
	}{
		{0, l.pair("plan", "--json"), `"event":"plan"`},
		{4, l.pair("migrate", "--json"), `"event":"done"`},
		{4, l.pair("verify", "--json"), `"event":"verify"`},
		{0, append([]string{"status"}, to...), `"event":"status"`},
		{4, append([]string{"replay"}, to...), `"event":"replay"`},
		{2, l.pair("migrate", "--json", "--state", l.from), `"event":"error"`},
	} {
		r := l.in(c.args...).exits(c.code, c.want)
		for _, e := range decodeLines[map[string]any](t, r.out) {
			if e["event"] == "" || e["event"] == nil {
				t.Errorf("outgrow %v: a line without an event: %v", c.args, e)
			}
		}
	}
	var report map[string]any
	if err := json.Unmarshal([]byte(readFile(t, l.dir+"/scaled.outgrow/report.json")), &report); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"plan", "migrate", "verify"} {
		if report[part] == nil {
			t.Errorf("the report has no section %s", part)
		}
	}
}
