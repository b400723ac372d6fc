// Package probe asks the servers of a deployment what package doctor's checks
// look at. The probes run at the same time, each with a limit; what a server
// refuses to tell is unknown, not wrong. They change nothing but for a probe
// object in the object store and a probe file in DATA_DIR, which are removed
// again. No answer holds a secret but for the config rows.
package probe

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"outgrow/mappings/doctor"
	"outgrow/mappings/env"
	"outgrow/mappings/fstype"
	"outgrow/mappings/objects"
)

// defaultLimit is the time that a probe has.
const defaultLimit = 20 * time.Second

// Config says what is asked.
type Config struct {
	Deployment env.Deployment
	// Limit is the time that each probe has; 0 means 20 s.
	Limit time.Duration
	// Objects opens the object store; it is called only with a provider that is
	// not the local disk.
	Objects func(context.Context, env.Files) (Store, error)
	// FileSystem finds the type of a file system; nil is fstype.Of.
	FileSystem fstype.Detect
}

// Store is an object store that can be written to.
type Store struct {
	Bucket   objects.Bucket
	Uploader Writer
	Describe string // without a secret
}

// Writer stores and removes small objects.
type Writer interface {
	objects.Deleter
	Put(ctx context.Context, up objects.Upload, body []byte) error
}

type prober struct {
	Config
	d env.Deployment
}

// Ask asks all servers of the deployment. When ctx ends, so does it, with
// whatever is known by then.
func Ask(ctx context.Context, cfg Config) doctor.Answers {
	logging.Disable() // the client of Redis, which writes to standard error
	if cfg.Limit == 0 {
		cfg.Limit = defaultLimit
	}
	p := &prober{Config: cfg, d: cfg.Deployment}
	a := doctor.Answers{Asked: true}
	var wg sync.WaitGroup
	each := func(ask func(context.Context)) {
		wg.Go(func() {
			limited, cancel := context.WithTimeout(ctx, cfg.Limit)
			defer cancel()
			ask(limited)
		})
	}
	if p.d.Database.Kind == env.Postgres {
		each(func(ctx context.Context) {
			a.Database = p.postgres(ctx, "DATABASE_URL", p.d.Database.URL, p.d.Database.Schema)
		})
		each(func(ctx context.Context) { a.Rows = p.rows(ctx) })
	}
	own := p.d.Vector.Kind == env.PGVector && (p.d.Database.Kind != env.Postgres || p.d.Vector.PG.URL != p.d.Database.URL)
	if own {
		each(func(ctx context.Context) { a.Vectors = p.postgres(ctx, "PGVECTOR_DB_URL", p.d.Vector.PG.URL, "") })
	}
	addresses := redisAddresses(p.d)
	a.Redis = make([]*doctor.Redis, len(addresses))
	for i, r := range addresses {
		each(func(ctx context.Context) { a.Redis[i] = p.redis(ctx, r) })
	}
	if ask := p.store(); ask != nil {
		each(func(ctx context.Context) { a.Store = ask(ctx) })
	}
	if p.d.Files.Provider != env.Local {
		each(func(ctx context.Context) { a.Objects = p.objects(ctx) })
	}
	if p.d.Files.Provider == env.Local || p.d.Database.Kind == env.SQLite {
		each(func(context.Context) { a.Folder = p.folder() })
	}
	exports := endpoints(p.d)
	a.Telemetry = make([]*doctor.Endpoint, len(exports))
	for i, e := range exports {
		each(func(ctx context.Context) { a.Telemetry[i] = p.endpoint(ctx, e) })
	}
	wg.Wait()
	if !own && p.d.Vector.Kind == env.PGVector {
		a.Vectors = a.Database
	}
	return a
}

// why says in one line, without a secret, what went wrong.
func (p *prober) why(ctx context.Context, err error) string {
	// A connection may run into the limit an instant before its context ends.
	limit, limited := ctx.Deadline()
	if ctx.Err() != nil || limited && !time.Now().Before(limit) {
		return fmt.Sprintf("no answer within %v", p.Limit)
	}
	// Errors that are joined, line by line, often repeat what the first one says.
	var text string
	for line := range strings.Lines(p.d.Redact(err.Error())) {
		if line = strings.Join(strings.Fields(line), " "); !strings.Contains(text, line) {
			text += " " + line
		}
	}
	return strings.TrimSpace(text)
}

// get is a variable's value, or what stands for it where it is not set.
func get(d env.Deployment, name, def string) string {
	if v, ok := d.Vars[name]; ok {
		return v.Reveal()
	}
	return def
}

// median of some times; it sorts them.
func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}
