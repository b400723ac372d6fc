package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/env"
	"outgrow/mappings/envform"
	"outgrow/mappings/pg"
	"outgrow/mappings/schema"
	"outgrow/mappings/shadow"
	"outgrow/pipeline"
	rowsource "outgrow/source/postgres"
	"outgrow/source/sqlite"
)

type envCmd struct {
	Write envWriteCmd `cmd:"" default:"withargs" help:"Write the variables as an env file, a Compose override, Kubernetes objects or Helm values."`
	Init  envInitCmd  `cmd:"" help:"Write a commented scaled.env to begin with."`
}

type envInitCmd struct {
	Out   string `help:"The env file to write, - for standard output." default:"scaled.env" placeholder:"FILE"`
	Force bool   `help:"Overwrite a file that says something else."`
}

func (c *envInitCmd) Run(a *app) error {
	if err := a.put(c.Out, envform.Start(), c.Force); err != nil || c.Out == "-" {
		return err
	}
	a.say("wrote   %s: fill in what is yours, then", c.Out)
	a.say("next    outgrow doctor --to %s --offline --primary", quoteArg(c.Out))
	return nil
}

type envWriteCmd struct {
	To          string `help:"The deployment: an env file in Open WebUI's variables." placeholder:"FILE" required:""`
	From        string `help:"The source: its release pins the image, its key is carried over, its config rows are compared with the variables." placeholder:"DIR|FILE"`
	FromMount   string `help:"Where the source's DATA_DIR can be reached from here." placeholder:"DIR"`
	Format      string `help:"dotenv, compose, kubernetes or helm." enum:"dotenv,compose,kubernetes,helm" default:"dotenv" placeholder:"FORM"`
	WithSecrets bool   `help:"Write secrets, too, instead of references to them."`
	Out         string `help:"The file to write; only you may read it. Without it standard output." default:"-" placeholder:"FILE"`
	Force       bool   `help:"Overwrite a file that says something else."`
	Replicas    int    `help:"Instances, the primary among them, which runs the migrations." default:"2" placeholder:"N"`
	Name        string `help:"The service, workload or release." default:"open-webui" placeholder:"NAME"`
	Claim       string `help:"The PersistentVolumeClaim with DATA_DIR (default: --name)." placeholder:"NAME"`
	Image       string `help:"Image with its tag (default: Open WebUI's own, of the source's release)." placeholder:"IMAGE"`
	JSON        bool   `help:"One JSON line on standard output: what was written, and everything that is told of it."`
}

// written is what is told, as JSON.
type written struct {
	Format string `json:"format"`
	// File is where it was written to, Text what was written where there is none.
	File       string       `json:"file,omitempty"`
	Text       string       `json:"text,omitempty"`
	References []string     `json:"references"`
	Shadowed   []shadow.Row `json:"shadowed"` // variables that a config row wins over
	Notes      []string     `json:"notes"`
}

// openWebUI is the image whose tag is the release.
const openWebUI = "ghcr.io/open-webui/open-webui:"

func (c *envWriteCmd) Run(a *app) error {
	a.json = c.JSON
	if c.Replicas < 1 {
		return pipeline.Usage("reading the options", errors.New("there is at least one instance"), "correct --replicas")
	}
	to, err := env.Load("to", c.To, "", a.environ)
	a.redact = to.Redact
	if err != nil {
		return err
	}
	src, err := c.source(a, to)
	if err != nil {
		return err
	}
	o := envform.Options{Vars: to.Vars, DataDir: to.DataDir, Name: c.Name, Claim: cmp.Or(c.Claim, c.Name), Replicas: c.Replicas, WithSecrets: c.WithSecrets}
	if o.Image = cmp.Or(c.Image, src.image); o.Image == "" && c.Format != envform.Dotenv {
		return pipeline.Usage("choosing the image", errors.New("the new Open WebUI must be of the source's release, which is not known here"),
			"say --from, or --image "+openWebUI+"RELEASE")
	}
	notes := append(src.notes, src.key.carry(&o, src.from)...)
	for _, w := range to.Warnings {
		notes = append(notes, w.Error())
	}
	r, err := envform.Write(c.Format, o)
	if err != nil {
		return pipeline.Usage("writing the variables", err, "correct it in "+c.To)
	}
	out := written{Format: c.Format, References: r.Secrets, Shadowed: shadow.Rows(src.configKeys, o.Vars), Notes: append(notes, r.Notes...)}
	if c.Out == "-" && c.JSON {
		out.Text = r.Text
	} else if err := a.put(c.Out, r.Text, c.Force); err != nil {
		return err
	}
	for i, n := range out.Notes {
		out.Notes[i] = a.clean(n)
	}
	if c.JSON {
		if c.Out != "-" {
			out.File = c.Out
		}
		withoutNulls(reflect.ValueOf(&out))
		emit(a.out, event{Event: "env", Detail: out})
		return nil
	}
	a.tellWritten(out, c.WithSecrets || c.Out == "-")
	return nil
}

// tellWritten tells on standard error: standard output may be what was written.
func (a *app) tellWritten(out written, secrets bool) {
	notes := out.Notes
	if len(out.References) > 0 {
		notes = append(notes, "references, not values: "+strings.Join(out.References, ", "))
	} else if !secrets {
		notes = append(notes, "it holds no secret")
	}
	for _, row := range out.Shadowed {
		notes = append(notes, fmt.Sprintf("%s is passed over: the source's config row %s wins after the move. Change it in Open WebUI's settings", row.Variable, row.Key))
	}
	for _, n := range notes {
		_, _ = fmt.Fprintf(a.err, "note    %s\n", n)
	}
}

// put writes to a file, or to standard output for "-".
func (a *app) put(path, text string, force bool) error {
	if path == "-" {
		_, err := fmt.Fprint(a.out, text)
		return err
	}
	return keepFile(path, []byte(text), force)
}

// envSource is what the source adds to the target's variables.
type envSource struct {
	from       env.Deployment // zero without --from
	image      string
	key        keyFacts
	configKeys []string
	notes      []string
}

func (c *envWriteCmd) source(a *app, to env.Deployment) (s envSource, err error) {
	if c.From == "" {
		// A key file beside the target's own env file is all that there may be.
		s.key.try(to, env.Deployment{Vars: to.Vars}, nil)
		return envSource{key: s.key, notes: []string{"without --from it is not known which variables the database's config rows win over"}}, nil
	}
	from, err := env.Load("from", c.From, c.FromMount, a.environ)
	a.redact = func(text string) string { return to.Redact(from.Redact(text)) }
	if err != nil {
		return s, err
	}
	s.from = from
	head := ""
	if from.Database.Kind == env.SQLite {
		if err := from.CheckMount(); err != nil {
			return s, pipeline.Usage("reading the source", err, "")
		}
		head, err = s.sqlite(a, to)
	} else {
		head, err = s.postgres(a.ctx, to)
	}
	if err != nil {
		return s, err
	}
	if releases := schema.Releases(head); len(releases) > 0 {
		s.image = openWebUI + releases[len(releases)-1]
		if len(releases) > 1 {
			s.notes = append(s.notes, "the source's schema is that of "+strings.Join(releases, ", ")+": the last of them is pinned unless --image says which")
		}
	}
	return s, nil
}

// sqlite reads the facts of a webui.db, and its revision.
func (s *envSource) sqlite(a *app, to env.Deployment) (head string, err error) {
	db, err := sqlite.Open(a.ctx, sqlite.Config{Path: s.from.Database.Path, FileSystem: a.fs})
	if err != nil {
		return "", err
	}
	defer db.Close() //nolint:errcheck // only read
	if head, err = db.Head(a.ctx); err != nil {
		return "", err
	}
	if s.configKeys, err = db.ConfigKeys(a.ctx); err == nil {
		s.key, err = tryKeys(a.ctx, s.from, to, db)
	}
	return head, err
}

// postgres reads those of a deployment that is on PostgreSQL already.
func (s *envSource) postgres(ctx context.Context, to env.Deployment) (head string, err error) {
	d := s.from.Database
	db, err := rowsource.Open(ctx, rowsource.Config{URL: d.URL, Schema: d.Schema, MaxConns: 1})
	if err != nil {
		return "", err
	}
	defer db.Close() //nolint:errcheck // only read
	if head, err = db.Head(ctx); err != nil {
		return "", err
	}
	if s.key, err = tryKeys(ctx, s.from, to, db); err != nil {
		return "", err
	}
	s.configKeys, err = configKeys(ctx, d)
	return head, err
}

// configKeys lists the config rows of a PostgreSQL database, whatever columns
// that table has.
func configKeys(ctx context.Context, d env.Database) ([]string, error) {
	pool, err := pg.Open(ctx, d.URL, pg.Options{Schema: d.Schema, MaxConns: 1})
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	rows, err := pool.Query(ctx, `SELECT to_jsonb(c)->>'key' FROM config AS c WHERE to_jsonb(c)->>'key' IS NOT NULL`)
	if err != nil {
		return nil, fmt.Errorf("reading config: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
