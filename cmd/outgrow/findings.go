package main

import (
	"fmt"
	"io"
	"sort"
	"strings"

	"outgrow/pipeline"
)

// rank orders findings: what stops comes first.
var rank = map[pipeline.Severity]int{pipeline.Refuse: 0, pipeline.Accept: 1, pipeline.Warn: 2, pipeline.Note: 3}

func sortFindings(all []pipeline.Finding) {
	sort.SliceStable(all, func(i, k int) bool { return rank[all[i].Severity] < rank[all[k].Severity] })
}

// consent splits what the operator may accept from what was accepted.
type consent map[pipeline.Reason]bool

func consentTo(words []string) consent {
	c := consent{}
	for _, w := range words {
		for _, r := range strings.Split(w, ",") {
			if r = strings.TrimSpace(r); r != "" {
				c[pipeline.Reason(r)] = true
			}
		}
	}
	return c
}

func (c consent) reasons() []pipeline.Reason {
	out := make([]pipeline.Reason, 0, len(c))
	for r := range c {
		out = append(out, r)
	}
	sort.Slice(out, func(i, k int) bool { return out[i] < out[k] })
	return out
}

// judge reports whether any finding stops the migration, and which reasons still
// wait for consent.
func judge(all []pipeline.Finding, ok consent) (refused bool, waiting []string) {
	seen := map[pipeline.Reason]bool{}
	for _, f := range all {
		switch {
		case f.Severity == pipeline.Refuse && !overruled(f, ok):
			refused = true
		case f.Severity == pipeline.Accept && !ok[f.Reason] && !seen[f.Reason]:
			seen[f.Reason] = true
			waiting = append(waiting, string(f.Reason))
		}
	}
	sort.Strings(waiting)
	return refused, waiting
}

// overruled reports whether the operator knows better than a refusal. Only the
// rule of the stores' ages can err.
func overruled(f pipeline.Finding, ok consent) bool {
	return f.Severity == pipeline.Refuse && f.Reason == driftReason && ok[driftReason]
}

var words = map[pipeline.Severity]string{pipeline.Refuse: "refuse", pipeline.Accept: "accept?", pipeline.Warn: "warn", pipeline.Note: "note"}

// shownAlike is how many findings of a kind are printed one by one; the report
// and --json have all.
const shownAlike = 3

// printFindings prints one finding a line, its fix below it.
func printFindings(w io.Writer, all []pipeline.Finding, ok consent) {
	type kind struct {
		severity pipeline.Severity
		reason   pipeline.Reason
		unit     string
	}
	alike, more := map[kind]int64{}, map[kind]int64{}
	of := func(f pipeline.Finding) kind { return kind{f.Severity, f.Reason, f.Unit} }
	for _, f := range all {
		if k := of(f); f.Severity != pipeline.Refuse {
			if alike[k]++; alike[k] > shownAlike {
				more[k] += max(f.Count, 1)
			}
		}
	}
	alike = map[kind]int64{}
	for _, f := range all {
		k := of(f)
		if alike[k]++; f.Severity != pipeline.Refuse && alike[k] > shownAlike {
			continue
		}
		word := words[f.Severity]
		if overruled(f, ok) || (f.Severity == pipeline.Accept && ok[f.Reason]) {
			word = "agreed"
		}
		where := ""
		if f.Unit != "" {
			where = " [" + f.Unit
			if f.Key != "" {
				where += " " + printable(f.Key)
			}
			where += "]"
		}
		_, _ = fmt.Fprintf(w, "%-8s%s%s\n", word, indent(f.Text), where)
		if f.Fix != "" && word != "agreed" {
			_, _ = fmt.Fprintf(w, "        fix: %s\n", indent(f.Fix))
		}
		if alike[k] == shownAlike && more[k] > 0 {
			_, _ = fmt.Fprintf(w, "        and %s more like these; --json lists them\n", number(more[k]))
		}
	}
}
