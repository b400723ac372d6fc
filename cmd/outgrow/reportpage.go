package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"outgrow/cmd/outgrow/page"
	"outgrow/pipeline"
)

// How much stands on the page at once; report.json has all of it.
const (
	shownRows   = 12  // of a table, before the rest is folded away
	foldedRows  = 500 // at most
	shownNotes  = 40
	namedInText = 30
)

// page puts the report on a page. dir is the state folder.
func (r *report) page(dir string) page.Page {
	o := r.Outcome
	w := stateWords[o.State]
	p := page.Page{Title: "outgrow: " + strings.ToLower(w.word), Kicker: "outgrow · " + moment(r.Made), Mood: w.mood, State: w.word, Headline: o.Headline, Lead: o.Text,
		Facts: r.facts(), From: r.From, To: r.To}
	if last := r.lastMove(); last != nil {
		p.Title += " · run " + last.run
		p.Kicker = "outgrow · run " + last.run + " · " + moment(r.Made)
	}
	if len(o.Next) > 0 {
		var steps []page.Step
		for _, n := range o.Next {
			steps = append(steps, page.Step{Text: n.Text, Command: n.Command})
		}
		p.Sections = append(p.Sections, page.Section{ID: "next", Title: "What to do next", Blocks: []page.Block{{Steps: steps}}})
	}
	parts := []func() page.Section{r.straysSection, r.verifySection, r.quarantineSection, r.ledgerSection, r.movedSection, r.passSection, r.throughputSection,
		r.timesSection, r.findingsSection, r.dependenciesSection, r.doctorSection}
	if slices.Contains([]string{statePlanned, stateRefused, stateFailed}, o.State) {
		// What was noticed is then what matters.
		parts = append([]func() page.Section{r.findingsSection}, slices.Concat(parts[:8], parts[9:])...)
	}
	for _, part := range parts {
		if s := part(); len(s.Blocks) > 0 {
			p.Sections = append(p.Sections, s)
		}
	}
	p.Colophon = []string{"Made by outgrow " + r.Version + ", " + moment(r.Made) + ". The same for machines: " + filepath.Join(dir, reportJSON) + ".",
		"No password, no key and no content of any record stands in this file."}
	return p
}

// facts are what was moved, and how long it took.
func (r *report) facts() []page.Fact {
	var out []page.Fact
	units := r.unitsMoved()
	for _, l := range pipeline.Lanes() {
		n, any := int64(0), false
		for _, u := range units {
			if pipeline.UnitOf(u.Unit).Lane == l {
				n, any = n+u.Read, true
			}
		}
		if any {
			word := plural(n, recordWord(l))
			out = append(out, page.Fact{Value: number(n), Label: word[strings.LastIndex(word, " ")+1:]})
		}
	}
	switch c := r.guided(); {
	case r.Rollback != nil:
	case c != nil && c.Phase == phaseDone && !c.started():
		out = append(out, page.Fact{Value: spell(c.Own), Label: "from stop to proof"})
	case c != nil && c.Phase == phaseDone:
		out = append(out, page.Fact{Value: spell(c.Downtime), Label: "downtime"})
	case r.Migrate != nil && r.Migrate.Complete:
		out = append(out, page.Fact{Value: spell(r.Migrate.took()), Label: "to copy"})
	case r.Migrate == nil && r.Plan != nil && !r.Plan.Refused:
		out = append(out, page.Fact{Value: spell(r.Plan.Estimate), Label: "to copy, predicted"})
	}
	if v := r.proof(); v != nil && (r.guided() == nil || r.guided().Phase != phaseDone) {
		out = append(out, page.Fact{Value: spell(v.Seconds), Label: "to compare"})
	}
	return out
}

// took is the time worked on the run, in all its sittings.
func (m *migrateReport) took() float64 { return max(m.Seconds, m.Throughput.seconds()) }

// unitsMoved are those of migrate, else of plan.
func (r *report) unitsMoved() []unitReport {
	switch {
	case r.Migrate != nil && len(r.Migrate.Units) > 0:
		return r.Migrate.Units
	case r.Plan != nil:
		return r.Plan.Units
	}
	return nil
}

// title is what a unit is called by people.
func (r *report) title(unit string) string {
	for _, u := range r.unitsMoved() {
		if u.Unit == unit && u.Label != "" {
			return u.Label
		}
	}
	return printable(pipeline.UnitOf(unit).Name)
}

// movedSection lists what was moved, lane by lane and unit by unit.
func (r *report) movedSection() page.Section {
	s := page.Section{ID: "moved", Title: "What was moved", Aside: "Every table, collection and folder, the largest first."}
	if r.Migrate == nil {
		s.ID, s.Title, s.Aside = "found", "What is there", "Read once by plan; nothing was written."
	}
	units := r.unitsMoved()
	for _, l := range pipeline.Lanes() {
		var of []unitReport
		for _, u := range units {
			if pipeline.UnitOf(u.Unit).Lane == l {
				of = append(of, u)
			}
		}
		if len(of) > 0 {
			s.Blocks = append(s.Blocks, page.Block{Table: r.laneTable(l, of)})
		}
	}
	return s
}

func (r *report) laneTable(l pipeline.Lane, units []unitReport) *page.Table {
	units = slices.Clone(units)
	slices.SortStableFunc(units, func(a, b unitReport) int { return int(min(max(b.Bytes-a.Bytes, -1), 1)) })
	var sum unitReport
	var empty []string
	var refused, changed bool
	for _, u := range units {
		sum.Read, sum.Bytes = sum.Read+u.Read, sum.Bytes+u.Bytes
		refused, changed = refused || u.Refused > 0, changed || u.Changed > 0
	}
	t := &page.Table{Title: strings.ToUpper(string(l[:1])) + string(l[1:]) + ": " + plural(sum.Read, recordWord(l)) + " in " + plural(int64(len(units)), unitWord(l)) + ", " + size(sum.Bytes),
		Columns: []page.Column{{Head: unitWord(l)}, {Head: plural(2, recordWord(l))[2:], Number: true}, {Head: "size", Number: true}, {Head: "largest", Number: true}, {Head: "time", Number: true}}}
	if refused {
		t.Columns = append(t.Columns, page.Column{Head: "refused", Number: true})
	}
	if changed {
		t.Columns = append(t.Columns, page.Column{Head: "changed", Number: true})
	}
	for _, u := range units {
		if u.Read == 0 && u.Refused == 0 {
			empty = append(empty, r.title(u.Unit))
			continue
		}
		row := []page.Cell{{Text: r.title(u.Unit)}, {Text: number(u.Read)}, {Text: size(u.Bytes), Bar: share(u.Bytes, units[0].Bytes)}, {Text: size(u.Largest)}, {Text: spell(u.Seconds)}}
		if u.Largest == 0 {
			row[3].Text = ""
		}
		if u.Seconds == 0 {
			row[4].Text = ""
		}
		if refused {
			row = append(row, page.Cell{Text: positive(u.Refused), Mood: moodIf(u.Refused > 0, page.Warn)})
		}
		if changed {
			row = append(row, page.Cell{Text: positive(u.Changed)})
		}
		t.Rows = append(t.Rows, row)
	}
	if len(empty) > 0 {
		t.Foot = "Empty: " + few(empty) + "."
	}
	return fold(t, unitWord(l))
}

// fold keeps the first rows in sight, and bounds the others.
func fold(t *page.Table, what string) *page.Table { return foldAt(t, what, shownRows) }

func foldAt(t *page.Table, what string, shown int) *page.Table {
	shown = min(shown, foldedRows)
	if len(t.Rows) <= shown+2 {
		return t
	}
	t.Rows, t.More = t.Rows[:shown], t.Rows[shown:]
	n := int64(len(t.More))
	t.MoreOf = plural(n, "more "+what)
	if n > foldedRows {
		t.More = t.More[:foldedRows]
		t.MoreOf += fmt.Sprintf("; here are %d of them, report.json has all", foldedRows)
	}
	return t
}

func few(names []string) string {
	if n := len(names) - namedInText; n > 0 {
		return strings.Join(names[:namedInText], ", ") + " and " + number(int64(n)) + " more"
	}
	return strings.Join(names, ", ")
}

func share(n, of int64) float64 {
	if of <= 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// positive prints a count, "" for none.
func positive(n int64) string {
	if n == 0 {
		return ""
	}
	return number(n)
}

func moodIf(is bool, m page.Mood) page.Mood {
	if is {
		return m
	}
	return page.Plain
}

// passSection tells what the last pass of sync did.
func (r *report) passSection() page.Section {
	if r.Sync == nil || r.Sync.Running {
		return page.Section{}
	}
	var sum pipeline.UnitSync
	t := &page.Table{Columns: []page.Column{{Head: ""}, {Head: "new", Number: true}, {Head: "changed", Number: true}, {Head: "removed", Number: true}, {Head: "refused", Number: true}}}
	for _, u := range r.Sync.Units {
		sum.Add(u)
		if u.New+u.Changed+u.Deleted+u.Refused > 0 {
			t.Rows = append(t.Rows, []page.Cell{{Text: r.title(u.Unit), Sub: string(pipeline.UnitOf(u.Unit).Lane)}, {Text: positive(u.New)}, {Text: positive(u.Changed)}, {Text: positive(u.Deleted)},
				{Text: positive(u.Refused), Mood: moodIf(u.Refused > 0, page.Warn)}})
		}
	}
	s := page.Section{ID: "pass", Title: "The last pass", Aside: moment(r.Sync.At)}
	text := fmt.Sprintf("%s read; %s new, %s changed, %s removed.", plural(sum.Read, "record"), number(sum.New), number(sum.Changed), number(sum.Deleted))
	s.Blocks = append(s.Blocks, page.Block{Text: &page.Text{Body: text}})
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, page.Block{Table: fold(t, "unit")})
	}
	return s
}

// straysSection tells what was still written to the old side.
func (r *report) straysSection() page.Section {
	if r.Watch == nil || strayCount(r.Watch) == 0 {
		return page.Section{}
	}
	t := &page.Table{Columns: []page.Column{{Head: ""}, {Head: "new", Number: true}, {Head: "changed", Number: true}, {Head: "removed", Number: true}, {Head: "conflicts", Number: true}, {Head: "carried over", Number: true}}}
	for _, u := range r.Watch.Units {
		if u.Any() {
			t.Rows = append(t.Rows, []page.Cell{{Text: r.title(u.Unit), Sub: string(pipeline.UnitOf(u.Unit).Lane)}, {Text: positive(u.New)}, {Text: positive(u.Changed)}, {Text: positive(u.Removed)},
				{Text: positive(u.Conflicts), Mood: moodIf(u.Conflicts > 0, page.Warn)}, {Text: positive(u.Carried)}})
		}
	}
	return page.Section{ID: "strays", Title: "Written to the old side after the last pass", Aside: moment(r.Watch.At), Blocks: []page.Block{{Table: fold(t, "unit")}}}
}
