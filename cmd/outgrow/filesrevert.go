package main

import (
	"context"
	"errors"

	"outgrow/mappings/env"
	"outgrow/mappings/files"
	"outgrow/pipeline"
	"outgrow/sink/filepaths"
)

type filesCmd struct {
	Revert revertCmd `cmd:"" help:"Put the old file.path of every row back after a switch of the storage provider on PostgreSQL."`
}

type revertCmd struct {
	target
}

// Run takes back the newest switch to the target's provider.
func (c *revertCmd) Run(a *app) error {
	a.json = c.JSON
	to, err := env.Load("to", c.To, c.ToMount, a.environ)
	a.redact = to.Redact
	if err != nil {
		return err
	}
	if to.Database.Kind != env.Postgres {
		return pipeline.Usage("taking the switch back", errors.New("the env file does not name a PostgreSQL"), "name the env file that file.path was switched to, with its DATABASE_URL")
	}
	s := &session{app: a, to: to, args: pair{target: c.target}}
	if err := s.direct(c.target); err != nil {
		return err
	}
	store, err := filepaths.Open(a.ctx, filepaths.Config{URL: s.to.Database.URL, Schema: s.to.Database.Schema})
	if err != nil {
		return err
	}
	defer store.Close() //nolint:errcheck // nothing is pending
	out, err := store.Revert(a.ctx, fileTarget(to))
	if err != nil {
		return err
	}
	since, err := s.newPaths(a.ctx, store, out.Switch.N)
	if err != nil {
		return err
	}
	code := pipeline.ExitOK
	if len(out.Changed) > 0 || since > 0 {
		code = pipeline.ExitDiffers
	}
	if a.json {
		emit(a.out, event{Event: "revert", Exit: code, Detail: map[string]any{"rows": out.Rows, "changed": out.Changed, "gone": out.Gone, "new": since, "switched": out.Switch.At}})
	}
	a.say("revert  %s have their old file.path again; %s deleted since", plural(out.Rows, "row"), number(out.Gone))
	for i, r := range out.Changed {
		if i == shownPerKind {
			a.say("left    and %s more", number(int64(len(out.Changed)-i)))
			break
		}
		a.say("left    %s: its path was changed since the switch, and stays", printable(r.ID))
	}
	if since > 0 {
		a.say("left    %s made since have their file only on %s", plural(since, "row"), describeFiles(to))
		a.say("fix     bring them back the other way: outgrow migrate --from %s --to OLD.env --only files", quoteArg(c.To))
	}
	a.say("next    start Open WebUI with the storage variables that it had before")
	return judged(code)
}

// newPaths counts the rows that lead to the target's provider and were not there
// when the paths were switched.
func (s *session) newPaths(ctx context.Context, store *filepaths.Store, n int64) (since int64, err error) {
	for rows, err := range store.Unlisted(ctx, n) {
		if err != nil {
			return since, err
		}
		for _, r := range rows {
			if path, err := files.Path(s.to, files.Name(r.Path)); err == nil && path == r.Path {
				since++
			}
		}
	}
	return since, nil
}

// pathStatus says whether file.path was switched on this target, and back.
func (s *session) pathStatus(ctx context.Context) error {
	if s.to.Database.Kind != env.Postgres {
		return nil
	}
	store, err := filepaths.Open(ctx, filepaths.Config{URL: s.to.Database.URL, Schema: s.to.Database.Schema})
	if pipeline.ExitCode(err) == pipeline.ExitUsage {
		return nil // no tables of Open WebUI yet
	}
	if err != nil {
		return err
	}
	defer store.Close() //nolint:errcheck // only read
	all, err := store.Switches(ctx)
	if err != nil {
		return err
	}
	a := s.app
	if a.json {
		emit(a.out, event{Event: "paths", Detail: all})
	}
	for _, w := range all {
		if w.Target != fileTarget(s.to) {
			continue
		}
		if w.Back != nil {
			a.say("paths   of %s were switched to %s at %s and put back at %s", plural(w.Rows, "row"), describeFiles(s.to), day(w.At), day(*w.Back))
		} else {
			a.say("paths   of %s were switched to %s at %s", plural(w.Rows, "row"), describeFiles(s.to), day(w.At))
		}
		return nil
	}
	a.say("paths   file.path was not switched to %s", describeFiles(s.to))
	return nil
}
