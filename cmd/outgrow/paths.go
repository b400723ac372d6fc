package main

import (
	"context"
	"fmt"

	"outgrow/mappings/env"
	layout "outgrow/mappings/files"
	"outgrow/mappings/pg"
	"outgrow/pipeline"
	"outgrow/sink/filepaths"
	"outgrow/source/files"
)

// Reasons of what is said of file.path.
const (
	pathsElsewhere pipeline.Reason = "path-elsewhere"
	pathsWait      pipeline.Reason = "path-waits"
)

// pathSwitch changes file.path where the files change their place and the
// database, a PostgreSQL in use, does not.
type pathSwitch struct {
	*session
	store *filepaths.Store
}

// openPaths finds out whether file.path is to be switched here, or who changes
// it.
func (o *opener) openPaths() error {
	folders := fileStoreOf(o.from.Files) == nil && fileStoreOf(o.to.Files) == nil
	if o.flags.pick(pipeline.Rows) || !o.flags.pick(pipeline.Files) || folders && o.sameData {
		return nil
	}
	from, to := o.from.Database, o.to.Database
	switch {
	case from.Kind == env.SQLite && to.Kind == env.SQLite:
		if fileTarget(o.from) != fileTarget(o.to) {
			o.tell(pipeline.Note, pathsElsewhere, 0, "file.path in webui.db is not changed: Open WebUI finds its files on the new place only once the rows say so",
				"move the rows to PostgreSQL too (leave --only out), which changes file.path on the way; a source's webui.db is never written to")
		}
		return nil
	case from.Kind == env.SQLite:
		o.tell(pipeline.Note, pathsElsewhere, 0, "file.path is changed where the rows are moved, not here", "run the same command without --only, or with --only rows")
		return nil
	case to.Kind != env.Postgres:
		o.tell(pipeline.Warn, pathsElsewhere, 0, "file.path is not changed: the target's env file does not name the database", "give DATABASE_URL of the same PostgreSQL in both env files")
		return nil
	}
	a, err := databasePlace(o.ctx, from)
	if err != nil {
		return err
	}
	b, err := databasePlace(o.ctx, to)
	if err != nil {
		return err
	}
	if a != b {
		o.tell(pipeline.Note, pathsElsewhere, 0, "file.path is not changed: the two sides name different databases, so it is for whoever moves the rows",
			"give DATABASE_URL of the same PostgreSQL in both env files to switch the files of one deployment")
		return nil
	}
	if _, err := o.openUploads(); err != nil {
		return err
	}
	store, err := filepaths.Open(o.ctx, filepaths.Config{URL: to.URL, Schema: to.Schema})
	if err != nil {
		return err
	}
	o.closers = append(o.closers, store.Close)
	o.paths = &pathSwitch{session: o.session, store: store}
	return nil
}

// databasePlace tells databases apart, the schema included. It may hold a host,
// so it is never shown or kept.
func databasePlace(ctx context.Context, d env.Database) (string, error) {
	pool, err := pg.Open(ctx, d.URL, pg.Options{Schema: d.Schema, MaxConns: 1})
	if err != nil {
		return "", err
	}
	defer pool.Close()
	return uniquePlace(ctx, pool)
}

// decide gives the new path of each row whose file the reader has, and the
// target has not refused. Which those are is looked up when it is first called.
func (p *pathSwitch) decide(at pipeline.Getter[*pipeline.Object]) filepaths.Decide {
	get, loaded := at.Get, false
	if l, ok := at.(files.Lister); ok {
		get = l.Listed
	}
	return func(ctx context.Context, rows []filepaths.Row) ([]string, error) {
		if !loaded {
			if err := p.refused.load(ctx); err != nil {
				return nil, err
			}
			loaded = true
		}
		keys := make([]string, len(rows))
		for i, r := range rows {
			keys[i] = layout.Uploads + "/" + layout.Name(r.Path)
		}
		there, err := get(ctx, uploadsUnit(), keys)
		if err != nil {
			return nil, fmt.Errorf("looking uploads up: %w", err)
		}
		out := make([]string, len(rows))
		for i, key := range keys {
			if there[key] == nil || p.refused.has(layout.Name(rows[i].Path)) {
				continue
			}
			if out[i], err = layout.Path(p.to, layout.Name(rows[i].Path)); err != nil {
				out[i] = ""
			}
		}
		return out, nil
	}
}

// pathCounts says how the rows stand.
type pathCounts struct {
	Rows int64 `json:"rows"` // switched, or to be
	Here int64 `json:"here"` // have the target's path already
	Left int64 `json:"left"` // keep theirs: the file is not there, or was refused
}

// findings says what a migration would do, from what the source has.
func (p *pathSwitch) findings(ctx context.Context) ([]pipeline.Finding, error) {
	n, err := p.count(ctx, p.decide(p.uploads))
	if err != nil {
		return nil, err
	}
	out := []pipeline.Finding{{Severity: pipeline.Note, Reason: pipeline.PathRewritten, Unit: "rows/file", Count: n.Rows,
		Text: fmt.Sprintf("file.path of %s is switched to %s in one transaction once all files are there; %s there already", plural(n.Rows, "row"), describeFiles(p.to), number(n.Here))}}
	if n.Left > 0 {
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: pipeline.MissingFile, Unit: "rows/file", Count: n.Left,
			Text: fmt.Sprintf("%s name files that the source does not have: their file.path stays as it is, and Open WebUI answers 404 for them as before", plural(n.Left, "row"))})
	}
	others, err := p.store.Others(ctx)
	if err != nil {
		return nil, err
	}
	if others > 0 && !p.stopped {
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: pathsWait, Count: int64(others),
			Text: fmt.Sprintf("%s of the same role on the database: Open WebUI seems to run, so the files are copied but file.path is not switched", plural(int64(others), "other session")),
			Fix:  "stop it and run the same command again, or say --stopped"})
	}
	return out, nil
}

func (p *pathSwitch) count(ctx context.Context, decide filepaths.Decide) (n pathCounts, err error) {
	for rows, err := range p.store.Rows(ctx) {
		if err != nil {
			return n, err
		}
		paths, err := decide(ctx, rows)
		if err != nil {
			return n, err
		}
		for i, r := range rows {
			switch paths[i] {
			case "":
				n.Left++
			case r.Path:
				n.Here++
			default:
				n.Rows++
			}
		}
	}
	return n, nil
}

// run switches the paths of the files that are on the target by now. why says
// what keeps it from that, "" when nothing does.
func (p *pathSwitch) run(ctx context.Context) (n pathCounts, why string, err error) {
	others, err := p.store.Others(ctx)
	if err != nil {
		return n, "", err
	}
	if others > 0 && !p.stopped {
		return n, "Open WebUI seems to run (" + plural(int64(others), "session") + " on the database): stop it and run the same command, or say --stopped", nil
	}
	back, err := p.openBack(ctx, false, nil)
	if err != nil {
		return n, "", err
	}
	defer back.Close() //nolint:errcheck // only read
	out, err := p.store.Switch(ctx, fileTarget(p.to), p.decide(back.uploads))
	return pathCounts{out.Rows, out.Here, out.Left}, "", err
}

// diff compares file.path of every row whose file is on the target with what
// the target's provider expects there.
func (p *pathSwitch) diff(ctx context.Context, back pipeline.Getter[*pipeline.Object], report func(pipeline.Difference)) (pipeline.UnitDiff, error) {
	d := pipeline.UnitDiff{Unit: "rows/file"}
	decide := p.decide(back)
	for rows, err := range p.store.Rows(ctx) {
		if err != nil {
			return d, err
		}
		paths, err := decide(ctx, rows)
		if err != nil {
			return d, err
		}
		for i, r := range rows {
			if paths[i] == "" {
				continue // the lane of files tells of a file that is missing
			}
			d.Source++
			d.Target++
			if paths[i] == r.Path {
				d.Equal++
				continue
			}
			d.Differs++
			report(pipeline.Difference{Unit: d.Unit, Key: r.ID, Kind: pipeline.Differs, Column: "path",
				Detail: "does not lead to " + describeFiles(p.to) + ", which has the file"})
		}
	}
	return d, nil
}

// switchPaths is the last act of a migration of files alone: only when every
// file is where it should be, and the source is as it was.
func (m *migration) switchPaths(ctx context.Context, waiting map[string]bool) (*pathsReport, error) {
	if m.paths == nil {
		return nil, nil
	}
	r := &pathsReport{}
	switch {
	case len(waiting) > 0:
		r.Waits = "not all files are there: some wait in the quarantine, or were left behind"
	case m.changed:
		r.Waits = "the source was written to meanwhile"
	default:
		n, why, err := m.paths.run(ctx)
		if err != nil {
			return nil, fmt.Errorf("switching file.path: %w", err)
		}
		r.pathCounts, r.Waits = n, why
	}
	return r, nil
}

// pathsReport is what became of file.path.
type pathsReport struct {
	pathCounts
	Waits string `json:"waits,omitempty"` // why it was not switched
}

func (m *migration) sayPaths() {
	r, a, to := m.switched, m.app, describeFiles(m.to)
	switch {
	case r == nil:
	case r.Waits != "":
		a.say("paths   not switched: %s", r.Waits)
	default:
		a.say("paths   %s switched to %s, %s there already, %s kept (no such file, or it was refused)", plural(r.Rows, "row"), to, number(r.Here), number(r.Left))
		if r.Rows > 0 {
			a.say("back    outgrow files revert --to %s puts the old paths back", quoteArg(m.args.To))
		}
	}
}
