package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

type rollbackCmd struct {
	pair
	laneFlags
	parityFlags
	Accept       []string `help:"As in migrate." placeholder:"REASON"`
	AllowDeletes bool     `help:"As in sync."`
	Chown        string   `help:"As in migrate." placeholder:"USER:GROUP"`
}

// Run leads from a scaled deployment back into a DATA_DIR that it makes itself.
func (c *rollbackCmd) Run(a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	a.json, a.guided = c.JSON, true
	from, err := env.Load("from", c.From, c.FromMount, a.environ)
	a.redact = from.Redact
	if err != nil {
		return configuration(from, env.Deployment{}, c.laneFlags, err)
	}
	f, err := c.folder(a, from)
	if err != nil {
		return err
	}
	dir, err := stateDir(c.target, from.Mount)
	if err != nil {
		return err
	}
	if err := notAccepted(dir); err != nil {
		return err
	}
	g := &guide{app: a, cmd: &cutoverCmd{pair: c.pair, laneFlags: c.laneFlags, parityFlags: c.parityFlags, Accept: c.Accept, AllowDeletes: c.AllowDeletes, Chown: c.Chown},
		from: from, dir: dir, back: true, began: time.Now()}
	if g.state, err = readCutover(dir, rollbackFile); err != nil {
		return err
	}
	if g.state.Phase == phaseDone {
		g.say("done    this rollback came to its end %s; nothing was done now", ago(time.Since(g.state.Done)))
		g.say("        while nobody has used %s yet, what was written on the other side since is brought over by: outgrow sync %s", f.at, g.args())
		return nil
	}
	if err := f.claim(dir); err != nil {
		return err
	}
	defer f.leave()
	return g.ended(g.rollBack(a.ctx, f))
}

// rollBack plans, copies what there is by now, and proves it.
func (g *guide) rollBack(ctx context.Context, f *freshFolder) error {
	g.state.Error, g.state.Exit = "", 0
	if g.state.Began.IsZero() {
		g.state.Began = g.began.UTC()
	} else {
		g.say("outgrow rollback · begun %s, goes on where it stood", ago(time.Since(g.state.Began)))
	}
	if err := g.plan(ctx); err != nil {
		return err
	}
	f.made = false // from here on the lanes know it
	more, err := g.migrate(ctx)
	if err != nil {
		return err
	}
	if err := g.to(phaseStopped); err != nil {
		return err
	}
	if more {
		if err := g.pass(ctx, stepFinal, true); err != nil {
			return err
		}
	}
	if err := g.verify(ctx); err != nil {
		return err
	}
	g.state.Done = time.Now().UTC()
	if err := g.to(phaseDone); err != nil {
		return err
	}
	g.say("back    everything of %s is in %s, compared record by record (%s)", g.cmd.From, f.at, clock(time.Since(g.began)))
	g.say("start   Open WebUI with DATA_DIR=%s and the same WEBUI_SECRET_KEY, and without DATABASE_URL, VECTOR_DB and STORAGE_PROVIDER", f.data)
	g.say("keep    the scaled side as it is until the app has shown that it runs: it was only read")
	return nil
}

// freshFolder is a DATA_DIR that a rollback makes.
type freshFolder struct {
	at   string // as it is reached from here
	data string // as the application will see it
	made bool   // by this process
}

// dataDirFile keeps, in the state folder, which folder a rollback has begun.
const dataDirFile = "data-dir"

// folder finds out where the new DATA_DIR is to be, and refuses what can be seen
// to be wrong before anything is made.
func (c *rollbackCmd) folder(a *app, from env.Deployment) (*freshFolder, error) {
	const op = "looking for the new DATA_DIR"
	if c.pick(pipeline.Rows) && from.Database.Kind == env.SQLite {
		return nil, pipeline.Usage("reading the configuration", errors.New("from: the database is SQLite: that deployment's rows have not left their webui.db"),
			"name the scaled deployment's env file with --from, or take back only its other lanes with --only vectors,files")
	}
	f := &freshFolder{at: c.To, data: c.To}
	switch info, err := os.Stat(c.To); {
	case err == nil && !info.IsDir():
		to, err := env.Load("to", c.To, c.ToMount, a.environ)
		if err != nil {
			return nil, configuration(from, to, c.laneFlags, err)
		}
		if _, given := to.Vars["DATA_DIR"]; !given && !to.MountGiven {
			return nil, pipeline.Usage(op, fmt.Errorf("%s does not name one", c.To), "give DATA_DIR there as Open WebUI will see it, and --to-mount DIR where it is reached from here")
		}
		if in, err := within(to.Database.Path, to.Mount); c.pick(pipeline.Rows) && (to.Database.Kind != env.SQLite || err != nil || !in) {
			return nil, pipeline.Usage(op, fmt.Errorf("%s keeps the rows elsewhere", c.To), "leave DATABASE_URL out of it; outgrow migrate moves between PostgreSQL databases")
		}
		f.at, f.data = to.Mount, to.DataDir
	case c.ToMount != "":
		return nil, pipeline.Usage(op, errors.New("--to-mount belongs to an env file"), "name the new folder with --to alone, or an env file with DATA_DIR")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, pipeline.Environment(op, err, "make it readable, or name another folder")
	case err != nil && filepath.Ext(c.To) == ".env":
		return nil, pipeline.Usage(op, fmt.Errorf("there is no file %s", c.To), "name an env file that is there, or a new folder, whose name does not end with .env")
	}
	abs, err := filepath.Abs(f.at)
	if err != nil {
		return nil, pipeline.Usage(op, err, "name an absolute path")
	}
	if f.data == f.at {
		f.data = abs
	}
	f.at = abs
	switch in, err := within(abs, from.Mount); {
	case err != nil:
		return nil, err
	case in && from.Mount != "":
		return nil, pipeline.Usage(op, fmt.Errorf("%s lies in the source's DATA_DIR, which is never written to", abs), "name a folder beside it")
	}
	return f, nil
}

// claim makes the folder, or finds that it is empty or this rollback's own. It is
// never made over anything.
func (f *freshFolder) claim(state string) error {
	const op = "making the new DATA_DIR"
	s := &session{state: state}
	if in, err := within(state, f.at); err != nil || in {
		return pipeline.Usage("choosing the state folder", fmt.Errorf("%s lies in the new DATA_DIR, which is Open WebUI's", state), "name a folder beside it with --state")
	}
	err := os.Mkdir(f.at, 0o755) //nolint:gosec // as Open WebUI makes its own
	switch {
	case err == nil:
		f.made = true
	case errors.Is(err, fs.ErrExist):
		id, err := folderID(f.at)
		if err != nil {
			return err
		}
		if slices.Equal(s.kept(dataDirFile), []string{id}) {
			return nil
		}
		there, err := os.ReadDir(f.at)
		if err != nil {
			return pipeline.Environment(op, err, "name a folder that does not exist yet")
		}
		if len(there) > 0 {
			return pipeline.Usage(op, fmt.Errorf("%s is there already and holds %s, which this rollback has not made: nothing is written over it", f.at, printable(there[0].Name())),
				"name a folder that does not exist yet; to go on with a rollback that was begun, name its --state folder")
		}
	default:
		return pipeline.Environment(op, err, "make the folder above it, as a user that may write there")
	}
	id, err := folderID(f.at)
	if err != nil {
		return err
	}
	return s.keep(dataDirFile, []string{id})
}

// leave takes a folder away that was made and stayed empty: the plan was refused.
func (f *freshFolder) leave() {
	if f.made {
		_ = os.Remove(f.at) // fails where anything is in it
	}
}
