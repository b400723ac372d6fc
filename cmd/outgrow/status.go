package main

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"time"

	"outgrow/mappings/schema"
	"outgrow/pipeline"
)

type statusCmd struct {
	target
	Quarantine bool `help:"Print the quarantine, one JSON line a record, instead."`
	Ledger     bool `help:"Print the ledger of changes, one JSON line a value, instead."`

	Watch bool          `help:"Show how far it is again and again, until all is done. Reads the state only: beside a run that is under way."`
	Every time.Duration `help:"How often to look with --watch." default:"2s"`
}

func (c *statusCmd) Run(a *app) error {
	a.json = c.JSON
	if c.Watch {
		return c.watch(a)
	}
	if dir, err := stateDir(c.target, ""); err != nil {
		return err
	} else if done, err := a.sayAccepted(dir); err != nil || done {
		return err
	}
	s, err := a.openTarget(c.target)
	if err != nil {
		return err
	}
	defer s.close()
	if c.Quarantine || c.Ledger {
		return s.lines(a, c.Quarantine, c.Ledger)
	}
	return s.status(a)
}

// lines streams quarantine and ledger lines of all lanes.
func (s *session) lines(a *app, quarantine, ledger bool) error {
	return s.eachLine(a.ctx, quarantine, ledger, func(line any) error {
		emit(a.out, line)
		return nil
	})
}

// laneStatus is what is known of a lane without touching the source.
type laneStatus struct {
	Lane     pipeline.Lane     `json:"lane"`
	Units    int               `json:"units"`
	Parts    int               `json:"parts"`
	Done     int               `json:"done"`
	Written  int64             `json:"written"`
	Refused  int64             `json:"refused"`
	Bytes    int64             `json:"bytes"`
	Complete bool              `json:"complete"`
	Without  []string          `json:"without,omitempty"` // what was taken away for speed and is not back yet
	Marks    map[string]string `json:"-"`
}

func statusOf(ctx context.Context, l mover) (laneStatus, error) {
	st := laneStatus{Lane: l.Kind()}
	if l.Journal() == nil {
		return st, nil
	}
	parts, err := l.Journal().All(ctx)
	if err != nil {
		return st, err
	}
	units := map[string]bool{}
	for _, p := range parts {
		units[p.Part.Unit.ID()] = true
		st.Parts++
		if p.Done {
			st.Done++
		}
		st.Written += p.Written
		st.Refused += p.Refused
		st.Bytes += p.Bytes
	}
	st.Units = len(units)
	if st.Marks, err = l.Journal().Marked(ctx); err != nil {
		return st, err
	}
	st.Complete = st.Marks["complete"] != "" || (st.Lane == pipeline.Files && st.Parts > 0 && st.Done == st.Parts)
	for name := range st.Marks {
		if rest, ok := strings.CutPrefix(name, "without:"); ok {
			st.Without = append(st.Without, rest)
		}
	}
	sort.Strings(st.Without)
	// A lane with a journal of the command's own is marked once it is copied; the
	// revision of its rows comes last of all.
	st.Complete = st.Complete && (st.Lane != pipeline.Rows || len(st.Without) == 0)
	return st, nil
}

// line is a lane's state for people.
func (st laneStatus) line() string {
	if st.Parts == 0 {
		return fmt.Sprintf("%-8s%s", st.Lane, nothing[st.Lane])
	}
	word := "in progress"
	if st.Complete {
		word = "complete"
	}
	return fmt.Sprintf("%-8s%s: %d of %d parts of %s done, %s written", st.Lane, word, st.Done, st.Parts,
		plural(int64(st.Units), unitWord(st.Lane)), plural(st.Written, recordWord(st.Lane)))
}

// nothing says that a lane has no state.
var nothing = map[pipeline.Lane]string{pipeline.Rows: "nothing begun", pipeline.Vectors: "nothing begun", pipeline.Files: "nothing copied: in place, or not begun"}

// missing sums up what was taken away: names while they are few, else counts.
func missing(names []string) string {
	kinds := map[string]string{"index": "index", "fk": "foreign key", "qdrant-index": "vector index"}
	if len(names) <= 5 {
		out := make([]string, len(names))
		for i, n := range names {
			out[i] = n
			if name, ok := strings.CutPrefix(n, "qdrant-index:"); ok {
				out[i] = "the vector index of " + name
			}
		}
		return strings.Join(out, ", ")
	}
	count, rest := map[string]int64{}, []string{}
	for _, n := range names {
		kind, _, _ := strings.Cut(n, ":")
		if kinds[kind] == "" {
			rest = append(rest, n)
			continue
		}
		count[kind]++
	}
	var out []string
	for _, kind := range []string{"index", "fk", "qdrant-index"} {
		if count[kind] > 0 {
			out = append(out, plural(count[kind], kinds[kind]))
		}
	}
	return strings.Join(append(out, rest...), ", ")
}

func (s *session) status(a *app) error {
	begun := false
	for _, l := range s.lanes {
		st, err := statusOf(a.ctx, l)
		if err != nil {
			return err
		}
		if a.json {
			emit(a.out, event{Event: "lane", Detail: st})
		}
		a.say("%s", st.line())
		if st.Parts == 0 {
			continue
		}
		begun = true
		if len(st.Without) > 0 {
			a.say("        not back yet: %s", missing(st.Without))
			a.say("        Do not start Open WebUI on this target before migrate has ended.")
		}
	}
	if s.begun(pipeline.Files) && !s.begun(pipeline.Rows) {
		if err := s.pathStatus(a.ctx); err != nil {
			return err
		}
	}
	refused, ledger, err := s.tallies(a.ctx)
	if err != nil {
		return err
	}
	for _, t := range refused {
		word := "waits for repair or consent"
		if t.Accepted {
			word = "accepted"
		}
		a.say("refused %s of %s: %s (%s)", plural(t.Count, "record"), t.Unit, t.Reason, word)
	}
	for _, t := range ledger {
		a.say("changed %s of %s: %s", plural(t.Count, "value"), t.Unit, t.Reason)
	}
	if a.json {
		emit(a.out, event{Event: "status", Detail: map[string]any{"begun": begun, "quarantine": refused, "ledger": ledger}})
	}
	return nil
}

type versionCmd struct {
	JSON bool `help:"One JSON object."`
}

func (c *versionCmd) Run(a *app) error {
	type known struct {
		Head     string   `json:"head"`
		Releases []string `json:"releases"`
	}
	var heads []known
	for _, h := range schema.Heads() {
		heads = append(heads, known{h, schema.Releases(h)})
	}
	if c.JSON {
		emit(a.out, map[string]any{"version": buildVersion(), "heads": heads})
		return nil
	}
	a.say("outgrow %s", buildVersion())
	a.say("knows the schema of Open WebUI releases:")
	for _, h := range heads {
		a.say("  %s  %s", h.Head, strings.Join(h.Releases, " "))
	}
	return nil
}
