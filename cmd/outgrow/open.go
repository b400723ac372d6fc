package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"outgrow/mappings/env"
	"outgrow/mappings/files"
	"outgrow/pipeline"
	sink "outgrow/sink/files"
)

// openOptions say what the sides are opened for.
type openOptions struct {
	write   bool // the target will be written
	verify  bool // the target will be read back
	deep    bool // both sides' files are read again
	replace bool
	chown   string
	accept  []string
}

// pick reports whether the lane takes part.
func (f laneFlags) pick(l pipeline.Lane) bool {
	return len(f.Only) == 0 || slices.Contains(f.Only, string(l))
}

// open reads both sides and opens the lanes. Nothing is written by it.
func (a *app) open(p pair, f laneFlags, opt openOptions) (_ *session, err error) {
	a.json = p.JSON
	s := &session{app: a, args: p, only: f.Only}
	from, to, err := a.sides(p, f)
	if err != nil {
		return nil, err
	}
	if _, given := to.Vars["DATA_DIR"]; !given && !to.MountGiven {
		// Nothing is said of another folder: the data folder stays where it is.
		to.Mount, to.MountGiven, s.sameData = from.Mount, true, true
	}
	s.from, s.to = from, to
	if err := s.direct(p.target); err != nil {
		return nil, err
	}
	if s.state, err = stateDir(p.target, from.Mount); err != nil {
		return nil, err
	}
	if err := notAccepted(s.state); err != nil {
		return nil, err
	}
	if opt.write || !opt.verify {
		if err := outsideSource(from, to, f); err != nil {
			return nil, err
		}
	}
	s.readChoices(opt.accept, f.IDConflicts)
	s.stopped = f.Stopped != nil && *f.Stopped
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	s.refused = &refusedUploads{journal: s.filesJournal}
	o := &opener{session: s, ctx: a.ctx, flags: f, opt: opt, log: s.logger()}
	return s, o.open()
}

// outsideSource refuses a target whose files would be written into the source's
// DATA_DIR. The same folder on both sides is none: what is there stays in place.
func outsideSource(from, to env.Deployment, f laneFlags) error {
	writes := f.pick(pipeline.Files) || f.pick(pipeline.Vectors) && to.Vector.Embedded() || f.pick(pipeline.Rows) && to.Database.Kind == env.SQLite
	if same, err := sink.SameFolder(from.Mount, to.Mount); err != nil || same || !writes {
		return nil // a folder that is not there is told of where it is needed
	}
	inside, err := within(to.Mount, from.Mount)
	for _, name := range []string{files.Uploads, "cache", "vector_db"} {
		if err == nil && !inside {
			inside, err = within(from.Mount, filepath.Join(to.Mount, name))
		}
	}
	if err != nil || !inside {
		return err
	}
	return pipeline.Usage("choosing the target's DATA_DIR", fmt.Errorf("%s and the source's DATA_DIR, which is never written to, lie in each other", to.Mount),
		"name a folder beside the source's in DATA_DIR or --to-mount; where the data folder is to stay as it is, leave DATA_DIR out")
}

// sides reads what the variables say of both sides; from here on their secrets
// are hidden in what is printed.
func (a *app) sides(p pair, f laneFlags) (from, to env.Deployment, err error) {
	from, ferr := env.Load("from", p.From, p.FromMount, a.environ)
	to, terr := env.Load("to", p.To, p.ToMount, a.environ)
	a.redact = func(text string) string { return to.Redact(from.Redact(text)) }
	return from, to, configuration(from, to, f, ferr, terr)
}

// configuration joins what both sides' variables are wrong about, each once.
func configuration(from, to env.Deployment, f laneFlags, loading ...error) error {
	told := map[string]bool{}
	for _, err := range loading {
		for _, c := range env.ConfigErrors(err) {
			told[c.Side+" "+c.Variable] = true
		}
	}
	return errors.Join(append(loading, supported(from, to, f, told))...)
}

// supported names, for each lane that takes part, what this version cannot move.
func supported(from, to env.Deployment, f laneFlags, told map[string]bool) error {
	var errs []error
	if f.pick(pipeline.Rows) && from.Database.Kind == env.SQLite && to.Database.Kind == env.SQLite && !told["to DATABASE_URL"] {
		errs = append(errs, errors.New("both sides name a SQLite database: rows are moved from SQLite to PostgreSQL, from PostgreSQL to SQLite, and from PostgreSQL to PostgreSQL. "+
			"Give DATABASE_URL of the PostgreSQL in the target's env file; a webui.db is copied with Open WebUI stopped, its -wal with it"))
	}
	if f.pick(pipeline.Vectors) {
		errs = append(errs, supportedStores(from.Vector, to.Vector, told)...)
	}
	if f.pick(pipeline.Files) {
		for side, d := range map[string]env.Deployment{"from": from, "to": to} {
			if err := supportedFiles(side, d.Files); err != nil && !told[side+" STORAGE_PROVIDER"] {
				errs = append(errs, err)
			}
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return pipeline.Usage("reading the configuration", errors.Join(errs...),
		"name a store that this version knows, or leave that lane out with --only")
}

type opener struct {
	*session
	ctx   context.Context //nolint:containedctx // lives as long as one call of open.
	flags laneFlags
	opt   openOptions
	log   *slog.Logger
	// srcStore describes the source's vector store; storeOpen: another process has
	// it open for writing.
	srcStore  string
	storeOpen bool
}

func (o *opener) open() error {
	if err := o.targetDatabase(); err != nil {
		return err
	}
	o.storeOpen = o.storeInUse()
	var err error
	if o.db, err = o.openRelational(); err != nil {
		return err
	}
	// The target is opened meanwhile.
	ctx, cancel := context.WithCancel(o.ctx)
	defer cancel()
	o.src = &sourceFacts{}
	var looking errgroup.Group
	looking.Go(func() error { return o.db.inspect(ctx, o.src, o.stopped) })
	if err := o.openLanes(); err != nil {
		cancel()
		_ = looking.Wait() // it was cancelled
		return err
	}
	if err := looking.Wait(); err != nil {
		return err
	}
	return o.facts()
}

// openLanes opens what takes part, on both sides.
func (o *opener) openLanes() error {
	switch {
	case o.flags.pick(pipeline.Rows):
		if err := o.openRows(o.db.whole); err != nil {
			return err
		}
	case o.db.any != nil:
		o.closers = append(o.closers, o.db.any.Close)
	}
	if o.flags.pick(pipeline.Vectors) {
		if err := o.openVectors(); err != nil {
			return err
		}
	}
	if o.flags.pick(pipeline.Files) {
		if err := o.openFiles(); err != nil {
			return err
		}
	}
	if err := o.openFilesBefore(); err != nil {
		return err
	}
	return o.openPaths()
}

// Defaults of --writers and --batch (MiB) for rows and files; vector stores have
// their own.
const (
	rowWriters = 3
	rowBatch   = 4
)

// rowPart is how large a table's parts are: small, because at the end of the
// load one writer is still at a part when the others have nothing left to do.
const rowPart = 16 << 20

func (o *opener) writers() int { return cmp.Or(max(o.flags.Writers, 0), rowWriters) }

func (o *opener) limits() pipeline.Limits {
	return pipeline.Limits{Bytes: cmp.Or(max(o.flags.Batch, 0), rowBatch) << 20}
}
