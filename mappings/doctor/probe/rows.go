package probe

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/mappings/doctor"
	"outgrow/mappings/env"
	"outgrow/mappings/files"
	"outgrow/mappings/pg"
	"outgrow/mappings/secrets"
)

// sample is how many files are looked for, and tokens how many stored secrets
// are tried.
const (
	sample = 25
	tokens = 100
)

// rows asks the database for what its rows say of the deployment.
func (p *prober) rows(ctx context.Context) *doctor.Rows {
	out := &doctor.Rows{Server: doctor.Server{Name: "DATABASE_URL"}}
	pool, err := pg.Open(ctx, p.d.Database.URL, pg.Options{Schema: p.d.Database.Schema, MaxConns: 1})
	if err != nil {
		out.Down = "DATABASE_URL does not answer"
		return out
	}
	defer pool.Close()
	if err := p.askRows(ctx, pool, out); err != nil {
		out.Down = "the rows cannot be read: " + p.why(ctx, err)
	}
	return out
}

func (p *prober) askRows(ctx context.Context, pool *pgxpool.Pool, out *doctor.Rows) error {
	if err := optional(ctx, pool, "SELECT version_num FROM alembic_version", func(head string) { out.Heads = append(out.Heads, head) }); err != nil {
		return err
	}
	if err := p.config(ctx, pool, out); err != nil {
		return err
	}
	if err := p.stored(ctx, pool, out); err != nil {
		return err
	}
	return p.paths(ctx, pool, out)
}

// optional reads one text of every row; a table or a column that is not there
// has none.
func optional(ctx context.Context, pool *pgxpool.Pool, query string, each func(string)) error {
	rows, err := pool.Query(ctx, query)
	if err == nil {
		var v string
		_, err = pgx.ForEachRow(rows, []any{&v}, func() error { each(v); return nil })
	}
	if missing(err) {
		return nil
	}
	return pg.Classify("reading the rows", err)
}

// missing reports an undefined table or column.
func missing(err error) bool { return pg.HasCode(err, "42P01", "42703") }

// config reads the config rows, which before 0.10 were one.
func (p *prober) config(ctx context.Context, pool *pgxpool.Pool, out *doctor.Rows) error {
	found := map[string]json.RawMessage{}
	rows, err := pool.Query(ctx, "SELECT key, value::text FROM config")
	if err == nil {
		var key, value string
		_, err = pgx.ForEachRow(rows, []any{&key, &value}, func() error {
			found[key] = json.RawMessage(value)
			return nil
		})
	}
	switch {
	case pg.HasCode(err, "42703"):
		out.Config = doctor.Untold[map[string]json.RawMessage]("the table config is of before 0.10")
	case missing(err) || err == nil:
		out.Config = doctor.Told(found)
	default:
		return pg.Classify("reading the config rows", err)
	}
	return nil
}

// stored tries the deployment's key on what is stored under it.
func (p *prober) stored(ctx context.Context, pool *pgxpool.Pool, out *doctor.Rows) error {
	key, ok := secrets.NewKeys(p.d.SecretKey, p.d.Vars)[secrets.Session]
	if !ok {
		return nil
	}
	return optional(ctx, pool, "SELECT token FROM oauth_session WHERE token <> '' LIMIT "+itoa(tokens), func(token string) {
		out.Tokens++
		if key.Opens(token) {
			out.Opens++
		}
	})
}

// paths compares every file.path with what the provider reads, and looks for
// some of the files.
func (p *prober) paths(ctx context.Context, pool *pgxpool.Pool, out *doctor.Rows) error {
	const name = "x"
	example, err := files.Path(p.d, name)
	if err != nil {
		return err
	}
	base := strings.TrimSuffix(example, name)
	flat := p.d.Files.Provider == env.GCS || p.d.Files.Provider == env.Azure
	var some []string
	seen := 0
	err = optional(ctx, pool, "SELECT path FROM file WHERE path <> ''", func(path string) {
		out.Files++
		key, ok := strings.CutPrefix(path, base)
		switch {
		case !ok || key == "":
			out.Wrong++
			return
		case flat && strings.Contains(key, "/"):
			out.Folders++
			return
		}
		if seen++; len(some) < sample {
			some = append(some, key)
		} else if i := rand.IntN(seen); i < sample {
			some[i] = key
		}
	})
	if err != nil {
		return err
	}
	out.Looked, out.Gone = p.look(ctx, some)
	return nil
}

// look looks for files in the provider.
func (p *prober) look(ctx context.Context, names []string) (looked doctor.Value[int], gone int) {
	if len(names) == 0 {
		return doctor.Told(0), 0
	}
	find := func(name string) error {
		_, err := os.Stat(filepath.Join(p.d.Mount, files.Uploads, filepath.FromSlash(name)))
		return err
	}
	if p.d.Files.Provider == env.Local {
		if err := p.d.CheckMount(); err != nil {
			return doctor.Untold[int](p.d.Redact(err.Error())), 0
		}
	} else {
		st, err := p.Objects(ctx, p.d.Files)
		if err != nil {
			return doctor.Untold[int]("the object store does not answer"), 0
		}
		find = func(name string) error { _, err := st.Bucket.Head(ctx, name); return err }
	}
	for _, n := range names {
		switch err := find(n); {
		case errors.Is(err, fs.ErrNotExist):
			gone++
		case err != nil:
			return doctor.Untold[int]("files cannot be looked for: " + p.why(ctx, err)), 0
		}
	}
	return doctor.Told(len(names)), gone
}
