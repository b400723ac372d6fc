package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"outgrow/mappings/env"
	"outgrow/mappings/silence"
	"outgrow/pipeline"
	"outgrow/sink/scratch"
)

type rehearseCmd struct {
	pair
	laneFlags
	Accept   []string `help:"As in migrate." placeholder:"REASON"`
	Chown    string   `help:"As in migrate." placeholder:"USER:GROUP"`
	Database string   `help:"The scratch database, beside the target's (default: outgrow_rehearsal)." placeholder:"NAME"`
	Data     string   `help:"The scratch DATA_DIR for the files; it must not exist (default: beside the target's DATA_DIR, with -rehearsal behind its name; none where uploads are in an object store)." placeholder:"DIR"`
	EnvOut   string   `name:"env-out" help:"Write the variables to look at it with into this file (mode 0600)." placeholder:"FILE"`
	Verify   bool     `help:"Compare every record with the source, too."`
	Remove   bool     `help:"Remove what rehearse has made: the database, the folder, the env file."`
}

// silence adds, where the target's database is one of a rehearsal, what silences
// rows on their way, for every command: nothing that acts is ever in it, and
// verify expects what is there.
func (s *session) silence(comment string, l *lane[*pipeline.Row]) {
	if scratch.Marked(comment) {
		s.rehearsal = comment
		l.transforms = append(l.transforms, silence.Transform())
	}
}

func (c *rehearseCmd) Run(a *app) error {
	a.json, a.guided, a.carries = c.JSON, true, c.EnvOut != ""
	from, to, err := a.sides(c.pair, laneFlags{Only: []string{string(pipeline.Rows)}})
	if err != nil {
		return err
	}
	if err := c.fits(to); err != nil {
		return err
	}
	dir, err := stateDir(c.target, from.Mount)
	if err != nil {
		return err
	}
	r := &rehearsing{app: a, cmd: c, from: from, to: to, dir: dir}
	if err := r.lock(); err != nil {
		return err
	}
	defer r.unlock()
	if r.state, err = readRehearsal(dir); err != nil {
		return err
	}
	target, err := c.reached(a, to)
	if err != nil {
		return err
	}
	if r.server, err = scratch.Open(a.ctx, target.Database.URL); err != nil {
		return err
	}
	defer r.server.Close()
	if c.Remove {
		return r.remove(a.ctx)
	}
	return r.run(a.ctx)
}

// fits refuses what cannot be rehearsed.
func (c *rehearseCmd) fits(to env.Deployment) error {
	const op = "reading the configuration"
	if to.Database.Kind != env.Postgres {
		return pipeline.Usage(op, errors.New("to: the database is SQLite: there is no server to make a scratch database on"),
			"a new webui.db harms nobody until it is started: outgrow rollback makes a whole DATA_DIR")
	}
	if !c.pick(pipeline.Rows) {
		return pipeline.Usage(op, errors.New("without its rows there is nothing to look at"), "leave --only out, or name rows too")
	}
	if c.Database != "" {
		return scratch.CheckName(c.Database)
	}
	return nil
}

// reached is a deployment whose database is asked by way of --direct-url.
func (c *rehearseCmd) reached(a *app, d env.Deployment) (env.Deployment, error) {
	s := &session{app: a, to: d}
	err := s.direct(c.target)
	return s.to, err
}

// rehearsing is one run of rehearse.
type rehearsing struct {
	*app
	cmd      *rehearseCmd
	from, to env.Deployment // to is the target that is rehearsed for
	dir      string         // the state folder of that migration; the rehearsal's own lies in it
	state    rehearsalState
	server   *scratch.Server
	locked   *os.File
	made     bool // the database is this process's work, as far as it is there
	// scratch is what is migrated to; set are the variables that make it of to, those
	// that are removed with an empty value.
	scratch env.Deployment
	set     map[string]env.Secret
	lanes   []string
	left    []string // what is left out, and why
	key     keyFacts
}

func (r *rehearsing) run(ctx context.Context) error {
	r.say("outgrow rehearse · for looking at: neither the source nor %s is changed", r.to.Database.Describe())
	if err := r.checkEnvOut(); err != nil {
		return err
	}
	if err := r.settle(); err != nil {
		return err
	}
	if err := r.claimDatabase(ctx); err != nil {
		return err
	}
	if err := r.claimFolder(); err != nil {
		return errors.Join(err, r.undo(ctx))
	}
	if err := r.redirect(ctx); err != nil {
		return errors.Join(err, r.undo(ctx))
	}
	code := pipeline.ExitOK
	if r.state.Phase == rehearsalReady && slices.Equal(r.state.Lanes, r.lanes) {
		r.say("there    it was made %s; to make it again, remove it first: outgrow rehearse --from %s --to %s --remove", ago(time.Since(r.state.Ready)), quoteArg(r.cmd.From), quoteArg(r.cmd.To)+r.stateArg())
		s, err := r.open(openOptions{})
		if err != nil {
			return err
		}
		r.key = s.src.key
		s.close()
	} else {
		var err error
		if code, err = r.copy(ctx); err != nil {
			return err
		}
	}
	if r.cmd.Verify {
		differs, err := r.verify(ctx)
		if err != nil {
			return err
		}
		code = max(code, differs)
	}
	return errors.Join(r.show(code), judged(code))
}

// settle decides on names, once for a rehearsal.
func (r *rehearsing) settle() error {
	const op = "going on with the rehearsal"
	const fix = "leave it out, or remove that one first: outgrow rehearse --remove"
	folder, err := r.folder()
	if err != nil {
		return err
	}
	s := &r.state
	switch {
	case s.ID == "":
		if own := filepath.Join(r.dir, rehearsalFolder); exists(own) { // it will be removed as a whole
			return pipeline.Usage("beginning a rehearsal", fmt.Errorf("%s is there already, and no rehearsal is known that has made it", own), "rename it, or name another folder with --state")
		}
		id := make([]byte, 8)
		_, _ = rand.Read(id)
		*s = rehearsalState{ID: hex.EncodeToString(id), Phase: rehearsalMaking, Begun: time.Now().UTC(), Database: cmp.Or(r.cmd.Database, scratch.Name), Data: folder}
	case r.cmd.Database != "" && r.cmd.Database != s.Database:
		return pipeline.Usage(op, fmt.Errorf("its database is %s, not %s", s.Database, r.cmd.Database), fix)
	case r.cmd.Data != "" && folder != s.Data:
		return pipeline.Usage(op, fmt.Errorf("its folder is %s, not %s", cmp.Or(s.Data, "none"), folder), fix)
	}
	return nil
}

// claimDatabase makes the scratch database, or finds that it is this rehearsal's.
func (r *rehearsing) claimDatabase(ctx context.Context) error {
	s := &r.state
	if err := r.server.Apart(ctx, s.Database); err != nil {
		return err
	}
	d, err := r.server.Look(ctx, s.Database)
	if err != nil {
		return err
	}
	switch {
	case !d.There && s.Phase != rehearsalMaking:
		return pipeline.Usage("going on with the rehearsal", fmt.Errorf("its database %s is gone", s.Database), "remove what is left of it: outgrow rehearse --remove, then begin anew")
	case !d.There:
		if err := s.save(r.dir); err != nil {
			return err
		}
		r.made = true
		if err := r.server.Make(ctx, s.Database, s.ID); err != nil {
			return errors.Join(err, r.undo(ctx))
		}
		return nil
	case d.Comment == scratch.Of(s.ID):
		return nil
	case d.Comment != scratch.Mark:
		return scratch.NotOurs("looking for the scratch database", s.Database)
	}
	// Somebody with more rights has made it for a rehearsal.
	at, _, err := r.load(nil)
	if err != nil {
		return err
	}
	if err := s.save(r.dir); err != nil { // kept first: whose the mark is, is known
		return err
	}
	if err := scratch.Take(ctx, at.Database.URL, s.Database, s.ID); err != nil {
		if d, lerr := r.server.Look(context.WithoutCancel(ctx), s.Database); lerr == nil && d.Comment != scratch.Of(s.ID) && !exists(s.Data) {
			return errors.Join(err, s.forget(r.dir))
		}
		return err
	}
	return nil
}

// undo takes away what this process has made before anything was copied there;
// a database that was there already is left, marked.
func (r *rehearsing) undo(ctx context.Context) error {
	if r.state.Phase != rehearsalMaking {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	if r.made {
		if _, err := r.server.Drop(ctx, r.state.Database, r.state.ID); err != nil {
			return err
		}
	} else if d, err := r.server.Look(ctx, r.state.Database); err != nil || d.There {
		return err
	}
	if !exists(r.state.Data) || r.ownsFolder() {
		if err := r.removeFolder(); err != nil {
			return err
		}
	}
	return r.state.forget(r.dir)
}

// copy moves the lanes into the scratch side, as migrate does.
func (r *rehearsing) copy(ctx context.Context) (code int, err error) {
	// What plan and migrate were told for the migration itself holds here, too.
	accept := append((&session{state: r.dir}).kept(acceptedFile), r.cmd.Accept...)
	s, err := r.open(openOptions{write: true, chown: r.cmd.Chown, accept: accept})
	if err != nil {
		return 0, errors.Join(err, r.undo(ctx))
	}
	m := &migration{app: r.app, session: s, meter: &pipeline.Meter{}, began: time.Now()}
	r.failure = m.failed
	code = r.exit(m.run(ctx))
	r.failure, r.key = nil, s.src.key
	s.close()
	switch {
	case !m.started:
		return code, errors.Join(judged(code), r.undo(ctx))
	case code != pipeline.ExitOK && code != pipeline.ExitDiffers:
		return code, judged(code)
	case code == pipeline.ExitDiffers && m.changed && len(m.waiting) == 0:
		r.say("note    the source was written to meanwhile: what came after the copy had begun is not in it")
		code = pipeline.ExitOK
	}
	r.state.Phase, r.state.Ready, r.state.Lanes = rehearsalReady, time.Now().UTC(), r.lanes
	return code, r.state.save(r.dir)
}

// verify compares; what was silenced is expected to be.
func (r *rehearsing) verify(ctx context.Context) (code int, err error) {
	s, err := r.open(openOptions{verify: true})
	if err != nil {
		return 0, err
	}
	defer s.close()
	v := &verification{app: r.app, session: s, meter: &pipeline.Meter{}, began: time.Now(), show: 50}
	if code = r.exit(v.run(ctx)); code != pipeline.ExitOK && code != pipeline.ExitDiffers {
		return code, judged(code)
	}
	return code, nil
}

// open opens source and scratch side.
func (r *rehearsing) open(opt openOptions) (*session, error) {
	p, flags := r.cmd.pair, r.cmd.laneFlags
	p.State, p.ToMount, flags.Only = filepath.Join(r.dir, rehearsalFolder), r.state.Data, r.lanes
	if old := (&session{state: r.dir}).kept(conflictsFile); flags.IDConflicts == "" && len(old) == 1 {
		flags.IDConflicts = old[0]
	}
	s, err := r.app.open(p, flags, opt)
	if err != nil {
		return nil, err
	}
	if s.rehearsal != scratch.Of(r.state.ID) {
		s.close()
		return nil, scratch.NotOurs("opening the scratch side", r.state.Database)
	}
	// What is said to do next is to be done with the scratch side's own variables.
	s.args.To, s.args.ToMount, s.args.State = cmp.Or(r.cmd.EnvOut, "rehearsal.env"), "", p.State
	return s, nil
}
