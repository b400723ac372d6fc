package main

import (
	"fmt"
	"slices"
	"strings"

	"outgrow/cmd/outgrow/page"
	"outgrow/mappings/dependencies"
	"outgrow/mappings/doctor"
	"outgrow/pipeline"
)

// findingsSection shows what the checks before the first write had to say, those
// of the last command that made them.
func (r *report) findingsSection() page.Section {
	// Those of plan, or of the copy that began the run: later ones find what
	// outgrow itself has written.
	findings := []pipeline.Finding(nil)
	switch m := r.Migrate; {
	case m != nil && !m.Resumed && len(m.Findings) > 0:
		findings = m.Findings
	case r.Plan != nil:
		findings = r.Plan.Findings
	case m != nil:
		findings = m.Findings
	}
	accepted := map[pipeline.Reason]bool{}
	if last := r.lastMove(); last != nil {
		for _, t := range last.quarantine {
			accepted[t.Reason] = accepted[t.Reason] || t.Accepted
		}
	}
	s := page.Section{ID: "findings", Title: "What was noticed"}
	var notes []page.Note
	for _, f := range alike(findings) {
		n := page.Note{Text: sentence(f.Text), Fix: sentence(f.Fix)}
		switch {
		case f.Severity == pipeline.Refuse:
			n.Mood, n.Word = page.Bad, "refused"
		case f.Severity == pipeline.Accept && accepted[f.Reason]:
			n.Word, n.Fix = "agreed to", ""
		case f.Severity == pipeline.Accept:
			n.Mood, n.Word = page.Warn, "decide"
		case f.Severity == pipeline.Warn:
			n.Mood, n.Word = page.Warn, "warning"
		default:
			n.Word = "note"
		}
		if f.Unit != "" {
			n.Title = r.title(f.Unit)
			if f.Count > 1 {
				n.Title += ", " + number(f.Count) + " times"
			}
		}
		notes = append(notes, n)
	}
	if more := len(notes) - shownNotes; more > 0 {
		notes = notes[:shownNotes]
		notes = append(notes, page.Note{Word: "more", Text: fmt.Sprintf("%d more stand in report.json.", more)})
	}
	if len(notes) > 0 {
		s.Blocks = []page.Block{{Notes: notes}}
	}
	return s
}

// alike keeps the first finding of a kind and unit and counts the others.
func alike(all []pipeline.Finding) []pipeline.Finding {
	all = slices.Clone(all)
	sortFindings(all)
	var out []pipeline.Finding
	for _, f := range all {
		f.Count = max(f.Count, 1)
		i := slices.IndexFunc(out, func(o pipeline.Finding) bool {
			return o.Severity == f.Severity && o.Reason == f.Reason && o.Unit == f.Unit && (f.Unit != "" || o.Text == f.Text)
		})
		if i < 0 {
			out = append(out, f)
			continue
		}
		out[i].Count += f.Count
	}
	return out
}

// doctorSection shows what doctor said of the new deployment.
func (r *report) doctorSection() page.Section {
	d := r.Doctor
	if d == nil {
		return page.Section{}
	}
	s := page.Section{ID: "doctor", Title: "The new deployment", Aside: "What outgrow doctor says of its configuration, for " + plural(int64(d.Processes), "process") + " of Open WebUI."}
	asked := "The variables alone were looked at; no server was asked."
	if !d.Offline && len(d.Asked) > 0 {
		asked = "Asked: " + strings.Join(d.Asked, ", ") + "."
	}
	must := 0
	var notes []page.Note
	for _, severity := range []doctor.Severity{doctor.Must, doctor.Should} {
		for _, f := range d.Findings {
			if f.Severity != severity {
				continue
			}
			n := page.Note{Word: "should fix", Mood: page.Warn, Title: f.Looked, Text: sentence(f.Found), Line: f.Line, Fix: sentence(f.Right)}
			if f.Symptom != "" {
				n.Fix += " Otherwise: " + sentence(f.Symptom)
			}
			if severity == doctor.Must {
				n.Word, n.Mood = "must fix", page.Bad
				must++
			}
			notes = append(notes, n)
		}
	}
	for _, u := range d.Unknown {
		notes = append(notes, page.Note{Word: "unknown", Title: u.Looked, Text: sentence(u.Why)})
	}
	verdict := page.Text{Body: fmt.Sprintf("%s made, nothing to fix. %s", plural(int64(d.Checks), "check"), asked), Mood: page.Good}
	switch {
	case must > 0:
		verdict = page.Text{Body: fmt.Sprintf("%s made. %d must be fixed before several instances run on it. %s", plural(int64(d.Checks), "check"), must, asked), Mood: page.Bad}
	case len(d.Findings) > 0:
		verdict = page.Text{Body: fmt.Sprintf("%s made; nothing stands in the way. %s", plural(int64(d.Checks), "check"), asked)}
	}
	s.Blocks = append(s.Blocks, page.Block{Text: &verdict})
	if len(notes) > 0 {
		s.Blocks = append(s.Blocks, page.Block{Notes: notes})
	}
	return s
}

// dependenciesSection lists what the deployment leans on and no lane moves. What
// is switched off, or reached from everywhere, is counted.
func (r *report) dependenciesSection() page.Section {
	if r.Plan == nil || len(r.Plan.Dependencies.Items) == 0 {
		return page.Section{}
	}
	s := page.Section{ID: "beside", Title: "What else is in the deployment", Aside: "It is not moved, and must be there where the new one runs."}
	t := &page.Table{Columns: []page.Column{{Head: "what"}, {Head: "named by"}, {Head: "size", Number: true}}}
	idle, public := 0, 0
	for _, k := range kindTitles {
		for _, i := range r.Plan.Dependencies.Items {
			switch {
			case i.Kind != k.kind:
			case i.Idle:
				idle++
			case i.Reach == dependencies.Public:
				public++
			default:
				row := []page.Cell{{Text: i.What, Sub: sentence(i.Note)}, {Text: i.Where, Sub: k.title}, {}}
				if i.Bytes > 0 {
					row[2].Text = size(i.Bytes)
				}
				t.Rows = append(t.Rows, row)
			}
		}
	}
	if idle > 0 {
		t.Foot += plural(int64(idle), "setting") + " more that is switched off. "
	}
	if public > 0 {
		t.Foot += plural(int64(public), "public host") + " more."
	}
	if len(r.Plan.Dependencies.Requirements) > 0 {
		t.Foot += " The packages of tools and functions are listed in " + requirementsFile + "."
	}
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, page.Block{Table: fold(t, "item")})
	} else if t.Foot != "" {
		s.Blocks = append(s.Blocks, page.Block{Text: &page.Text{Body: strings.TrimSpace(t.Foot)}})
	}
	return s
}
