package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"outgrow/mappings/env"
)

// oldest is the oldest PostgreSQL that works, as server_version_num: what
// package pg asks for.
const oldest = 140000

// slow is the round trip from which Open WebUI's documentation calls a database
// too far away (performance, "Network Latency").
const slow = 5 * time.Millisecond

// onDatabase looks at the server of DATABASE_URL, if it is one and answers.
func onDatabase(look func(Facts, *Postgres) verdict) func(Facts) verdict {
	return func(f Facts) verdict { return onServer(f, f.Answers.Database, look) }
}

func onServer(f Facts, p *Postgres, look func(Facts, *Postgres) verdict) verdict {
	switch {
	case p == nil:
		return verdict{}
	case p.Down != "":
		return unknown(p.Name + " does not answer")
	}
	return look(f, p)
}

func postgresChecks() []check {
	return []check{
		{"D58", Must, "PostgreSQL", "a server that answers and lets this role in", "Open WebUI does not start",
			func(f Facts) verdict {
				for _, p := range []*Postgres{f.Answers.Database, f.Answers.Vectors} {
					if p != nil && p.Down != "" {
						return verdict{found: p.Name + ": " + p.Down, line: "correct " + p.Name + ", or start the server"}
					}
				}
				return verdict{}
			}, false},
		{"D58", Must, "the server's version", "PostgreSQL 14 or later", "the schema cannot be made",
			onDatabase(func(_ Facts, p *Postgres) verdict {
				return when(p.Version < oldest, p.Kind, "move to a PostgreSQL of 14 or later")
			}), false},
		{"D58", Must, "whether the server takes writes", "the primary", "\"cannot execute INSERT in a read-only transaction\"",
			onDatabase(func(_ Facts, p *Postgres) verdict {
				return when(p.ReadOnly, "read-only: a replica, or default_transaction_read_only is on", "name the primary in DATABASE_URL")
			}), false},
		{"D58", Must, "the role's rights", "USAGE and CREATE in the schema, all rights on Open WebUI's tables", "\"permission denied\" at the start, or after an update", onDatabase(rights), false},
		{"D50", Should, "DATABASE_SCHEMA", "the schema that holds Open WebUI's tables", "Open WebUI begins with empty tables in another schema",
			onDatabase(func(f Facts, p *Postgres) verdict {
				return when(p.Schema != "" && !p.Tables && p.Elsewhere != "", "the tables are in "+p.Elsewhere, "DATABASE_SCHEMA="+p.Elsewhere)
			}), false},
		{"D09", Should, "the round trip to the database", "1 to 2 ms, 5 at most, from where Open WebUI runs", "everything is slow while the processor is idle",
			onDatabase(func(_ Facts, p *Postgres) verdict {
				return when(p.Trip > slow, fmt.Sprintf("%.1f ms from here", float64(p.Trip)/float64(time.Millisecond)), "run database and Open WebUI in one network")
			}), false},
	}
}

func rights(f Facts, p *Postgres) verdict {
	grant := "GRANT USAGE, CREATE ON SCHEMA " + p.Schema + " TO the role, or let it own the schema"
	switch {
	case p.Schema == "" && f.Database.Schema != "":
		return verdict{found: "there is no schema " + f.Database.Schema, line: "CREATE SCHEMA " + f.Database.Schema + " AUTHORIZATION the role"}
	case p.Schema == "":
		return verdict{found: "no schema of the search path is there, or may be used", line: "GRANT USAGE, CREATE ON SCHEMA public TO the role"}
	case !p.Usage:
		return verdict{found: "no USAGE in " + p.Schema, line: grant}
	case !p.Create:
		return verdict{found: "no CREATE in " + p.Schema, line: grant}
	case len(p.Denied) > 0:
		return verdict{found: "not all rights on " + some(p.Denied), line: "let the role own the tables"}
	}
	return verdict{}
}

// some names the first few of many.
func some(names []string) string {
	const most = 4
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// extension judges one that Open WebUI needs, and makes at its start if it may.
func extension(p *Postgres, name string, creates bool) verdict {
	e, there := p.Extensions[name]
	line := "CREATE EXTENSION " + name + ", as a superuser, in this database"
	switch {
	case e.Installed != "":
		return verdict{}
	case !there:
		return verdict{found: "the server does not have the extension " + name, line: "install " + name + " on the server"}
	case !creates:
		return verdict{found: name + " is not installed, and Open WebUI is told not to", line: line}
	}
	return when(!p.Superuser && !(e.Trusted && p.CreateExt), name+" is not installed, and this role may not do it", line)
}

// minimum are the versions of pgvector that bring what Open WebUI may ask for.
// Source: pgvector's changelog.
var minimum = map[string][2]int{"hnsw": {0, 5}, "halfvec": {0, 7}}

// older reports whether a version is before the one that brings a feature.
func older(version, feature string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return false
	}
	least := minimum[feature]
	return slices.Compare([]int{major, minor}, least[:]) < 0
}

// usesPGVector reports whether the vectors are in a PostgreSQL.
func (f Facts) usesPGVector() bool { return f.Vector.Kind == env.PGVector }
