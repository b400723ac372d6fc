package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"

	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/sink/filepaths"
)

type acceptCmd struct {
	pair
	Yes bool `help:"Ask nothing."`
}

// Files of the state folder in which quarantine and ledger outlive the state.
const (
	quarantineFile = "quarantine.jsonl"
	ledgerFile     = "ledger.jsonl"
)

func (c *acceptCmd) Run(a *app) error {
	from, ferr := env.Load("from", c.From, c.FromMount, a.environ)
	to, terr := env.Load("to", c.To, c.ToMount, a.environ)
	a.json, a.redact = c.JSON, func(text string) string { return to.Redact(from.Redact(text)) }
	if err := errors.Join(ferr, terr); err != nil {
		return configuration(from, to, laneFlags{}, ferr, terr)
	}
	dir, err := stateDir(c.target, from.Mount)
	if err != nil {
		return err
	}
	r, err := readAccept(dir)
	if err != nil {
		return err
	}
	if r.Phase == acceptDone {
		_, err := a.sayAccepted(dir)
		return err
	}
	s, err := a.openTarget(c.target)
	if err != nil {
		return err
	}
	defer s.close()
	s.from, s.args = from, c.pair
	if r.Phase == "" {
		if err := c.begin(a, s, &r); err != nil {
			return err
		}
	}
	if err := s.forget(a.ctx); err != nil {
		return err
	}
	r.Phase = acceptDone
	if err := r.save(dir); err != nil {
		return err
	}
	if a.json {
		emit(a.out, event{Event: "accept", Detail: r})
	}
	a.say("accepted: outgrow's state is gone from the target and from %s; report, quarantine and ledger are kept there", dir)
	return nil
}

// begin refuses a run that is not proven, says what comes, asks, and keeps what
// the state alone knows. Nothing is removed by it.
func (c *acceptCmd) begin(a *app, s *session, r *acceptReport) error {
	const op = "accepting the run"
	begun := false
	for _, l := range s.lanes {
		run, err := l.Peek(a.ctx)
		if err != nil {
			return err
		}
		begun = begun || run != nil
		r.Lanes = append(r.Lanes, l.Kind())
	}
	if !begun {
		return pipeline.Usage(op, errors.New("no migration was begun on this target"), "name the pair and the state folder (--state) that it was made with")
	}
	if unfit := s.unfit(); unfit != "" {
		return pipeline.Usage(op, errors.New(unfit), "run outgrow migrate "+s.pairArgs()+" to its end first")
	}
	refused, _, err := s.tallies(a.ctx)
	if err != nil {
		return err
	}
	for _, t := range refused {
		if !t.Accepted && t.Count > 0 {
			return &pipeline.Error{Op: op, Err: fmt.Errorf("%s of %s wait in the quarantine: %s", plural(t.Count, "record"), t.Unit, t.Reason), Exit: pipeline.ExitDiffers,
				Hint: "put repaired ones in with outgrow replay, or agree to leave them out: outgrow migrate " + s.pairArgs() + " --accept " + string(t.Reason) + ", then verify"}
		}
	}
	if r.Proven, err = proof(s.state, r.Lanes, s.pairArgs()); err != nil {
		return err
	}
	r.At, r.Deletable = time.Now().UTC(), s.deletable(r.Lanes)
	a.say("outgrow accept · both sides were equal %s", ago(time.Since(r.Proven)))
	a.say("This ends the run: its state, its digests and the schema \"outgrow\" are removed. Report, quarantine and ledger are kept in %s.", s.state)
	a.say("The new deployment does not need any more, and you may delete by hand (outgrow never does):")
	for _, line := range r.Deletable {
		a.say("  %s", line)
	}
	a.say("As long as all of it is there the old app can be started again, as it was at the cutover. Without it the way back is outgrow rollback,")
	a.say("which reads the new side alone. Keep WEBUI_SECRET_KEY in any case. Records that were agreed to be left out are then in %s only.", quarantineFile)
	if !c.Yes {
		if !a.asks() {
			return pipeline.Usage(op, errors.New("there is no terminal to ask on"), "say --yes")
		}
		if err := a.ask(a.ctx, "accept  Press Enter to accept the run (Ctrl-C to leave everything as it is): "); err != nil {
			return err
		}
	}
	if err := s.keepLines(a.ctx); err != nil {
		return err
	}
	r.Phase = acceptRemoving
	return r.save(s.state)
}

// keepLines writes quarantine and ledger of all lanes into files that stay.
func (s *session) keepLines(ctx context.Context) error {
	const hint = "free disk space in the state folder, then run the same command"
	for _, name := range []string{quarantineFile, ledgerFile} {
		f, err := createPrivate(filepath.Join(s.state, name))
		if err != nil {
			return pipeline.Environment("writing "+name, err, hint)
		}
		w := bufio.NewWriter(f)
		enc := json.NewEncoder(w)
		err = s.eachLine(ctx, name == quarantineFile, name == ledgerFile, enc.Encode)
		if err == nil {
			err = w.Flush()
		}
		if err == nil {
			err = f.Sync()
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return pipeline.Environment("writing "+name, err, hint)
		}
	}
	return syncDir(s.state)
}

// eachLine gives every line of the quarantine, of the ledger, or of both, lane by
// lane.
func (s *session) eachLine(ctx context.Context, quarantine, ledger bool, give func(any) error) error {
	for _, l := range s.lanes {
		j := l.Journal()
		if j == nil {
			continue
		}
		var err error
		if quarantine {
			err = giveAll(j.Refusals(ctx, ""), give)
		}
		if ledger && err == nil {
			err = giveAll(j.Changes(ctx, ""), give)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func giveAll[T any](lines iter.Seq2[T, error], give func(any) error) error {
	for line, err := range lines {
		if err == nil {
			err = give(line)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forget removes all that outgrow keeps of the run, but the report and what else
// is for people. It may be repeated.
func (s *session) forget(ctx context.Context) error {
	for _, l := range s.lanes {
		j, ok := l.Journal().(pipeline.Forgetter)
		if !ok {
			continue
		}
		if err := j.Forget(ctx); err != nil {
			return fmt.Errorf("%s: %w", l.Kind(), err)
		}
	}
	if s.to.Database.Kind == env.Postgres && s.begun(pipeline.Files) {
		store, err := filepaths.Open(ctx, filepaths.Config{URL: s.to.Database.URL, Schema: s.to.Database.Schema})
		if err != nil {
			return err
		}
		err = store.Forget(ctx)
		if cerr := store.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	// The lanes last: they say what is still to be removed.
	for _, name := range []string{string(pipeline.Rows), string(pipeline.Vectors), string(pipeline.Files), filepath.Base(s.private()), acceptedFile, conflictsFile, dataDirFile,
		cutoverFile, rollbackFile, lanesFile} {
		if err := os.RemoveAll(filepath.Join(s.state, name)); err != nil {
			return pipeline.Environment("removing the state", err, "let this user write to the state folder, then run the same command")
		}
	}
	return syncDir(s.state)
}

// deletable lists what only the old deployment needs, of the lanes that moved.
func (s *session) deletable(lanes []pipeline.Lane) []string {
	var out []string
	if r, err := readRehearsal(s.state); err == nil && r.ID != "" {
		out = append(out, "the rehearsal in the database "+r.Database+", by outgrow rehearse --remove")
	}
	for _, l := range lanes {
		switch {
		case l == pipeline.Rows && s.from.Database.Kind == env.SQLite:
			out = append(out, s.from.Database.Path+", with -wal and -shm if they are there")
		case l == pipeline.Rows:
			out = append(out, "the tables of Open WebUI in "+s.from.Database.Describe())
		case l == pipeline.Vectors && s.from.Vector.Embedded():
			out = append(out, s.from.Vector.Path+": it still holds the vectors and texts of users who are deleted")
		case l == pipeline.Vectors:
			if store, ok := storeOf(s.from.Vector); ok {
				out = append(out, "the collections in "+store.describe(s.from.Vector)+" of the source: they still hold the texts of users who are deleted")
			}
		case fileStoreOf(s.from.Files) != nil:
			out = append(out, "the files in "+fileStoreOf(s.from.Files).describe(s.from.Files))
		case sharedFiles(s.from, s.to) && fileStoreOf(s.to.Files) == nil:
		default:
			out = append(out, filepath.Join(s.from.Mount, "uploads")+", unless the new deployment has the same DATA_DIR and keeps its copies there")
		}
	}
	return out
}
