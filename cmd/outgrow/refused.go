package main

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"

	"outgrow/mappings/env"
	layout "outgrow/mappings/files"
	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	"outgrow/sink/filepaths"
)

// Reasons of what is said of rows whose file was refused.
const (
	// pathOfAnother: the row's path leads to a file of the target that is not
	// the row's.
	pathOfAnother pipeline.Reason = "path-of-another"
	pathKept      pipeline.Reason = "path-kept"
)

// refusedUploads are the uploads that the target has not taken: another file has
// their name there, or the source could not give them. Their rows must not be
// led to the target.
type refusedUploads struct {
	// journal of the lane of files; nil where it takes no part and never did.
	journal func() pipeline.Journal

	mu    sync.RWMutex
	names map[string]bool
}

// load reads the quarantine as it is now. It only grows while a lane is copied,
// and is complete once that has come to its end.
func (r *refusedUploads) load(ctx context.Context) error {
	j := r.journal()
	if j == nil {
		return nil
	}
	names := map[string]bool{}
	for line, err := range j.Refusals(ctx, uploadsUnit().ID()) {
		if err != nil {
			return fmt.Errorf("looking up which files were refused: %w", err)
		}
		names[strings.TrimPrefix(line.Key, layout.Uploads+"/")] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names = names
	return nil
}

func (r *refusedUploads) has(name string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.names[name]
}

func (r *refusedUploads) none() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.names) == 0
}

// filesJournal gives the journal of the lane of files; nil where nothing is
// copied.
func (s *session) filesJournal() pipeline.Journal {
	for _, l := range s.lanes {
		if l.Kind() == pipeline.Files {
			if l.InPlace() {
				return nil
			}
			return l.Journal()
		}
	}
	return s.filesBefore
}

// openFilesBefore opens what an earlier run has kept of the files, where the
// rows are moved without them.
func (o *opener) openFilesBefore() error {
	if !o.flags.pick(pipeline.Rows) || o.flags.pick(pipeline.Files) {
		return nil
	}
	if !o.hasState(pipeline.Files) {
		return nil
	}
	j, err := localstate.Open(o.ctx, o.state, pipeline.Files, o.from.Mount)
	if err != nil {
		return err
	}
	o.closers = append(o.closers, j.Close)
	run, err := j.Peek(o.ctx)
	if err != nil || run == nil {
		return err
	}
	// Where the target cannot be looked at, the state folder's word has to do.
	target, err := o.filesFingerprint(false)
	if err != nil || run.Target == target || strings.HasPrefix(run.Target, target+"+") {
		o.filesBefore = j
	}
	return nil //nolint:nilerr // see above
}

// rowReader is the source of the rows. Whenever it begins to read the table file,
// which is after the files were copied, it looks up which of them were refused.
type rowReader struct {
	database
	refused *refusedUploads
}

func (r *rowReader) Read(ctx context.Context, part pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Row], error] {
	if part.Unit.Name == "file" {
		if err := r.refused.load(ctx); err != nil {
			return func(yield func(pipeline.Batch[*pipeline.Row], error) bool) {
				yield(pipeline.Batch[*pipeline.Row]{}, err)
			}
		}
	}
	return r.database.Read(ctx, part, after)
}

// Sift is for tables whose rows do not depend on the files.
func (r *rowReader) Sift(ctx context.Context, part pipeline.Part, after pipeline.Cursor, seed uint64, same pipeline.Same) iter.Seq2[pipeline.Batch[*pipeline.Row], error] {
	return pipeline.Sift(ctx, pipeline.Source[*pipeline.Row](r.database), part, after, seed, same)
}

// misled is what the target's rows say of the files that were refused.
type misled struct {
	wrong []string // ids of the rows that lead to a file of the target's own
	kept  int64    // rows that lead elsewhere, as before
}

// misledRows looks for rows of refused files. It needs a target whose rows are,
// or were, moved here.
func (s *session) misledRows(ctx context.Context) (m misled, err error) {
	if s.to.Database.Kind == "" || s.filesJournal() == nil || s.paths == nil && !s.begun(pipeline.Rows) {
		return m, nil
	}
	if err := s.refused.load(ctx); err != nil || s.refused.none() {
		return m, err
	}
	if s.to.Database.Kind == env.SQLite {
		return s.misledBy(s.keptFiles(ctx))
	}
	store, err := filepaths.Open(ctx, filepaths.Config{URL: s.to.Database.URL, Schema: s.to.Database.Schema})
	if pipeline.ExitCode(err) == pipeline.ExitUsage {
		return m, nil // no tables yet
	}
	if err != nil {
		return m, err
	}
	defer store.Close() //nolint:errcheck // only read
	return s.misledBy(store.Rows(ctx))
}

func (s *session) misledBy(pages iter.Seq2[[]filepaths.Row, error]) (m misled, err error) {
	for rows, err := range pages {
		if err != nil {
			return m, err
		}
		for _, r := range rows {
			name := layout.Name(r.Path)
			if !s.refused.has(name) {
				continue
			}
			if path, err := layout.Path(s.to, name); err == nil && path == r.Path {
				m.wrong = append(m.wrong, r.ID)
			} else {
				m.kept++
			}
		}
	}
	return m, nil
}

// namedRows is how many rows get a finding of their own.
const namedRows = 100

func (m misled) findings(fix string) []pipeline.Finding {
	var out []pipeline.Finding
	add := func(severity pipeline.Severity, reason pipeline.Reason, key string, n int64, text, fix string) {
		out = append(out, pipeline.Finding{Severity: severity, Reason: reason, Unit: "rows/file", Key: key, Count: n, Text: text, Fix: fix})
	}
	for i, id := range m.wrong {
		if i == namedRows {
			add(pipeline.Warn, pathOfAnother, "", int64(len(m.wrong)-i), "as many more rows lead to another file", fix)
			break
		}
		add(pipeline.Warn, pathOfAnother, id, 1, "file.path leads to a file that the target had before, not to the row's own, which was refused", fix)
	}
	if m.kept > 0 {
		add(pipeline.Note, pathKept, "", m.kept, plural(m.kept, "row")+" of refused files lead where they did before, not to the target: Open WebUI answers 404 for them", "")
	}
	return out
}

// say names some rows of either kind, and what mends the first.
func (m misled) say(a *app, fix string) {
	for i, id := range m.wrong {
		if i == shownPerKind {
			a.say("another and %s more rows", number(int64(len(m.wrong)-i)))
			break
		}
		a.say("another %s: its file.path leads to a file that the target had before, not to its own, which was refused", printable(id))
	}
	if len(m.wrong) > 0 {
		a.say("fix     %s", fix)
	}
	if m.kept > 0 {
		a.say("paths   %s of refused files lead where they did before, not to the target", plural(m.kept, "row"))
	}
}
