package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"outgrow/mappings/schema"
	"outgrow/pipeline"
)

// State is what a target was found to be.
type State string

// The states of a target.
const (
	NoFolder State = "no-folder" // the folder of the database is not there
	Empty    State = "empty"     // nothing is there: the database is made
	Ours     State = "ours"      // this run's unfinished database
	Renamed  State = "renamed"   // this run's, with its name; the journal does not say so yet
	Released State = "released"  // this run's, done
	Foreign  State = "foreign"   // an unfinished database that this journal does not tell of
	InUse    State = "in-use"    // a webui.db, or what belongs to one, that outgrow did not make
	Lost     State = "lost"      // the journal tells of a database that is gone
)

// Marks in the journal.
const (
	markToken     = "sqlite-token"     // the value that the file has too; on the disk before the file is made
	markMade      = "sqlite-made"      // the tables are there
	markFinished  = "sqlite-finished"  // Finish is through
	markReleasing = "sqlite-releasing" // value: the inode of the file that gets its name
	markReleased  = "sqlite-released"  // value: the head
	markIndexes   = "without:indexes"
	markVersion   = "without:" + versionTable // value: the head
)

// Target is what Inspect found.
type Target struct {
	State State
	// There lists the files that are in the way.
	There []string
	// Finished is true once [Sink.Finish] is through.
	Finished bool
}

// Inspect looks at the target. It changes nothing but what SQLite does to an
// unfinished database that a crash has left.
func (s *Sink) Inspect(ctx context.Context) (Target, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, _, err := s.inspect(ctx)
	return t, classify("inspecting the target", err)
}

func (s *Sink) inspect(ctx context.Context) (Target, map[string]string, error) {
	t := Target{State: Empty}
	marks, err := s.cfg.Journal.Marked(ctx)
	if err != nil {
		return t, nil, err
	}
	t.Finished = marks[markFinished] != ""
	switch fi, err := os.Stat(filepath.Dir(s.path)); {
	case errors.Is(err, os.ErrNotExist) || err == nil && !fi.IsDir():
		t.State = NoFolder
		return t, marks, nil
	case err != nil:
		return t, marks, err
	}
	final, err := inode(s.path)
	if err != nil {
		return t, marks, err
	}
	beside, err := present(companions(s.path)...)
	if err != nil {
		return t, marks, err
	}
	unfinished, err := inode(s.partial)
	if err != nil {
		return t, marks, err
	}
	switch {
	case final != "" && marks[markReleased] != "":
		t.State = Released
	case final != "" && marks[markReleasing] == final && unfinished == "":
		t.State = Renamed
	case final != "":
		t.State, t.There = InUse, append([]string{s.path}, beside...)
	case len(beside) > 0: // SQLite would take them for the new database's
		t.State, t.There = InUse, beside
	case unfinished != "":
		t.There = []string{s.partial}
		t.State, err = s.whose(ctx, marks, unfinished)
	case marks[markMade] != "":
		t.State = Lost
	}
	return t, marks, err
}

// whose tells an unfinished database of this journal from others.
func (s *Sink) whose(ctx context.Context, marks map[string]string, id string) (State, error) {
	if marks[markToken] == "" {
		return Foreign, nil
	}
	if marks[markReleasing] == id {
		return Ours, nil
	}
	if err := s.connect(ctx, s.partial); err != nil {
		return Foreign, err
	}
	tables, err := one[int](ctx, s.conn, "SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return Foreign, err
	}
	if tables == 0 && marks[markMade] == "" {
		return Empty, nil // it was being made
	}
	is, err := s.owner(ctx, s.conn)
	if err == nil && is == marks[markToken] {
		return Ours, nil
	}
	return Foreign, err
}

// owner reads whose file it is; "" when it does not say.
func (s *Sink) owner(ctx context.Context, q querier) (string, error) {
	has, err := one[bool](ctx, q, "SELECT count(*) FROM sqlite_schema WHERE name = ?", ownTable)
	if err != nil || !has {
		return "", err
	}
	return one[string](ctx, q, "SELECT value FROM "+ownTable+" WHERE name = 'token'")
}

func (s *Sink) unknown() *pipeline.Finding {
	heads := schema.Heads()
	return &pipeline.Finding{Severity: pipeline.Refuse, Reason: "unknown-head",
		Text: fmt.Sprintf("the source's schema %q is of no release that is known (newest: %s)", s.cfg.Head, release(heads[len(heads)-1])),
		Fix:  "use an outgrow that knows the release of Open WebUI which wrote the source"}
}

func release(head string) string {
	if r := schema.Releases(head); len(r) > 0 {
		return head + " (Open WebUI " + r[len(r)-1] + ")"
	}
	return head
}

// refuse gives the finding that forbids to write to this target, nil when there
// is none. With replace the target is going to be emptied first.
func (s *Sink) refuse(t Target, replace bool) *pipeline.Finding {
	no := func(reason pipeline.Reason, text, fix string) *pipeline.Finding {
		return &pipeline.Finding{Severity: pipeline.Refuse, Reason: reason, Text: text, Fix: fix}
	}
	dir := filepath.Dir(s.path)
	switch {
	case t.State == NoFolder:
		return no("no-folder", "the folder "+dir+" is not there", "make the folder, or mount what belongs there, then run the same command")
	case t.State == InUse && !replace && t.There[0] != s.path:
		return no("in-use", fmt.Sprintf("%s is there without its database: SQLite would take it for the new one's", t.There[0]),
			"find out whose it is and move it away, or name another folder")
	case t.State == InUse && !replace:
		return no("in-use", s.path+" is there and was not begun by outgrow: it is not written over",
			"name a fresh DATA_DIR beside it, or add --replace, which moves the old database aside")
	case t.State == Foreign && !replace:
		return no("in-use", s.partial+" is the unfinished database of another run",
			"go on with the --state folder of that run, or add --replace to delete it and begin anew")
	case t.State == Lost && !replace:
		return no("lost", "outgrow's state tells of a database in "+dir+" that is gone", "add --replace to begin anew, or name the folder that was begun")
	}
	if s.known == nil {
		return s.unknown()
	}
	return nil
}

// asError makes the error of a refused target.
func asError(f *pipeline.Finding) error {
	return pipeline.Usage("preparing the target", errors.New(f.Text), f.Fix)
}
