package main

import (
	"fmt"
	"slices"
	"strings"

	"outgrow/cmd/outgrow/page"
	"outgrow/pipeline"
)

// laneSums adds up what was compared, by lane; Unit is then the lane's.
func laneSums(units []pipeline.UnitDiff) []pipeline.UnitDiff {
	var out []pipeline.UnitDiff
	for _, l := range pipeline.Lanes() {
		sum, any := pipeline.UnitDiff{Unit: string(l) + "/"}, false
		for _, u := range units {
			if pipeline.UnitOf(u.Unit).Lane == l {
				sum.Add(u)
				any = true
			}
		}
		if any {
			out = append(out, sum)
		}
	}
	return out
}

// verifySection shows what was compared and found, and how well searches find.
func (r *report) verifySection() page.Section {
	v := r.Verify
	if v == nil {
		return page.Section{}
	}
	s := page.Section{ID: "verify", Title: "Verification", Aside: "Every record was read back from the new side by a reader of its own, and compared with the old side. " + moment(v.At) + "."}
	if r.proof() == nil {
		s.Blocks = append(s.Blocks, page.Block{Text: &page.Text{Body: "This comparison is older than the last copy or pass: it says nothing about what is there now.", Mood: page.Warn}})
	}
	t := &page.Table{Columns: []page.Column{{Head: ""}, {Head: "compared", Number: true}, {Head: "equal", Number: true}, {Head: "as agreed to", Number: true}, {Head: "not as it should be", Number: true}}}
	for _, sum := range laneSums(v.Units) {
		l := pipeline.UnitOf(sum.Unit).Lane
		bad := sum.Missing + sum.Extra + sum.Differs + sum.Quarantined
		t.Rows = append(t.Rows, []page.Cell{{Text: strings.ToUpper(string(l[:1])) + string(l[1:])}, {Text: number(sum.Source)}, {Text: number(sum.Equal)}, {Text: positive(sum.Excused + sum.Put)},
			{Text: number(bad), Mood: moodOf(bad)}})
	}
	s.Blocks = append(s.Blocks, page.Block{Table: t})
	if d := r.differences(); d != nil {
		s.Blocks = append(s.Blocks, page.Block{Table: d})
	}
	return r.recall(s)
}

func moodOf(bad int64) page.Mood {
	if bad > 0 {
		return page.Bad
	}
	return page.Good
}

// differences lists the units that are not equal; nil when all are.
func (r *report) differences() *page.Table {
	t := &page.Table{Title: "Where they differ", Columns: []page.Column{{Head: ""}, {Head: "missing", Number: true}, {Head: "only there", Number: true}, {Head: "different", Number: true}, {Head: "in quarantine", Number: true}},
		Foot: "Missing: on the old side only. Only there: on the new side only. In quarantine: refused, and nobody has agreed to that."}
	for i := range r.Verify.Units {
		u := &r.Verify.Units[i]
		if u.Different() {
			cell := func(n int64) page.Cell { return page.Cell{Text: positive(n), Mood: moodIf(n > 0, page.Bad)} }
			t.Rows = append(t.Rows, []page.Cell{{Text: r.title(u.Unit), Sub: string(pipeline.UnitOf(u.Unit).Lane)}, cell(u.Missing), cell(u.Extra), cell(u.Differs), cell(u.Quarantined)})
		}
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return fold(t, "unit")
}

// recall shows the searches of every collection, the worst first.
func (r *report) recall(s page.Section) page.Section {
	p := r.Verify.Search
	if p == nil {
		return s
	}
	if p.Skipped != "" {
		s.Blocks = append(s.Blocks, page.Block{Text: &page.Text{Body: "Searches were not compared: " + p.Skipped + "."}})
		return s
	}
	units := slices.Clone(p.Units)
	slices.SortStableFunc(units, func(a, b pipeline.UnitParity) int {
		switch {
		case a.Fault != b.Fault && (a.Fault == "" || b.Fault == ""):
			return strings.Compare(b.Fault, a.Fault)
		case a.Recall < b.Recall:
			return -1
		case a.Recall > b.Recall:
			return 1
		}
		return 0
	})
	skipped, imperfect := 0, 0
	t := &page.Table{Title: fmt.Sprintf("Searches: %s of the nearest records are found on average, %s at least", percentText(p.Recall), percentText(p.Lowest)),
		Columns: []page.Column{{Head: "collection"}, {Head: "searches", Number: true}, {Head: "found", Number: true}, {Head: "by exact search", Number: true}, {Head: "score off by", Number: true}},
		Foot:    "Found: the part of the nearest records, by an exact search over the old side, that Open WebUI’s own way of asking finds on the new one (recall). " + p.Index + ". At least " + percentText(p.MinRecall) + " was asked for."}
	for i := range units {
		u := &units[i]
		if u.Skipped != "" {
			skipped++
			continue
		}
		if u.Recall < 1 || u.Fault != "" {
			imperfect++
		}
		row := []page.Cell{{Text: r.title(u.Unit), Sub: u.Fault}, {Text: number(int64(u.Searches))}, {Text: fmt.Sprintf("%.3f", u.Recall), Bar: u.Recall, Mood: moodIf(u.Low(p.MinRecall), page.Bad)}, {}, {Text: fmt.Sprintf("%.0e", u.ScoreDifference)}}
		if u.Exact != nil {
			row[3].Text = fmt.Sprintf("%.3f", *u.Exact)
		}
		if u.ScoreDifference == 0 {
			row[4].Text = "0"
		}
		t.Rows = append(t.Rows, row)
	}
	if skipped > 0 {
		t.Foot += " " + plural(int64(skipped), "collection") + " could not be searched: empty, or all of it in the quarantine."
	}
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, page.Block{Table: foldAt(t, "collection", max(imperfect, perfectShown))})
	}
	return s
}

// perfectShown is how many collections that find everything are shown.
const perfectShown = 5

// linesOf groups quarantine or ledger lines by reason.
type linesOf struct {
	reason   pipeline.Reason
	accepted bool
	count    int64
	units    []string
}

func (r *report) byReason(all []pipeline.Tally) []linesOf {
	var out []linesOf
	for _, t := range all {
		if t.Count == 0 {
			continue
		}
		i := slices.IndexFunc(out, func(l linesOf) bool { return l.reason == t.Reason && l.accepted == t.Accepted })
		if i < 0 {
			i, out = len(out), append(out, linesOf{reason: t.Reason, accepted: t.Accepted})
		}
		out[i].count += t.Count
		out[i].units = append(out[i].units, r.title(t.Unit)+" "+number(t.Count))
	}
	slices.SortStableFunc(out, func(a, b linesOf) int { return int(min(max(b.count-a.count, -1), 1)) })
	return out
}

// because is a reason and what it means.
func because(r pipeline.Reason) page.Cell {
	if text := reasonText(r); text != "" {
		return page.Cell{Text: text, Sub: string(r)}
	}
	return page.Cell{Text: string(r)}
}

func (r *report) quarantineSection() page.Section {
	last := r.lastMove()
	if last == nil {
		return page.Section{}
	}
	t := &page.Table{Columns: []page.Column{{Head: "reason"}, {Head: "of"}, {Head: "records", Number: true}, {Head: ""}}}
	for _, l := range r.byReason(last.quarantine) {
		state := page.Cell{Text: "waits", Mood: page.Warn}
		if l.accepted {
			state = page.Cell{Text: "agreed to"}
		}
		t.Rows = append(t.Rows, []page.Cell{because(l.reason), {Text: few(l.units)}, {Text: number(l.count)}, state})
	}
	if len(t.Rows) == 0 {
		return page.Section{}
	}
	return page.Section{ID: "quarantine", Title: "Quarantine", Aside: "What the new side cannot hold. Kept whole, nothing of it is lost.", Blocks: []page.Block{{Table: t}}}
}

func (r *report) ledgerSection() page.Section {
	last := r.lastMove()
	if last == nil {
		return page.Section{}
	}
	t := &page.Table{Columns: []page.Column{{Head: "reason"}, {Head: "of"}, {Head: "values", Number: true}}}
	for _, l := range r.byReason(last.ledger) {
		t.Rows = append(t.Rows, []page.Cell{because(l.reason), {Text: few(l.units)}, {Text: number(l.count)}})
	}
	if len(t.Rows) == 0 {
		return page.Section{}
	}
	return page.Section{ID: "ledger", Title: "Ledger of changes", Aside: "Values that had to be changed to fit, each with digests of before and after.", Blocks: []page.Block{{Table: t}}}
}
