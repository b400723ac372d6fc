package doctor

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"outgrow/mappings/env"
)

// exampleHosts stand in the examples of Open WebUI's documentation.
var exampleHosts = []string{"db-host", "redis-host", "qdrant-host", "milvus-host", "chroma-host", "your-collector", "hostname", "example.com"}

func databaseChecks() []check {
	return []check{
		{"D01", Must, "DATABASE_URL", "a PostgreSQL that all processes share", "\"database is locked\", damage, and data that differ between instances",
			func(f Facts) verdict {
				return when(f.several() && f.Database.Kind == env.SQLite, fmt.Sprintf("SQLite, for %d processes", f.Processes()), "DATABASE_URL=postgresql://USER:PASSWORD@HOST:5432/NAME")
			}, false},
		{"D06", Should, "DATABASE_POOL_SIZE, DATABASE_POOL_MAX_OVERFLOW", "a pool that suits the load, 15 and 20 to begin with; all processes together below max_connections", "\"QueuePool limit reached\", or \"too many clients\"",
			func(f Facts) verdict {
				_, set := f.number("DATABASE_POOL_SIZE")
				return when(f.several() && f.Database.Kind == env.Postgres && !set, "not set", "DATABASE_POOL_SIZE=15")
			}, false},
		{"D38", Should, "DATABASE_USER_ACTIVE_STATUS_UPDATE_INTERVAL", "300 to 500 seconds with several instances", "an UPDATE and a COMMIT for almost every request",
			func(f Facts) verdict {
				_, set := f.Vars["DATABASE_USER_ACTIVE_STATUS_UPDATE_INTERVAL"]
				return when(f.several() && !set, "not set, which means 60", "DATABASE_USER_ACTIVE_STATUS_UPDATE_INTERVAL=300")
			}, false},
		{"D08", Should, "DATABASE_POOL_SIZE", "about 8 for SQLite: every connection has a cache of 64 MB", "Open WebUI is killed for want of memory",
			func(f Facts) verdict {
				_, set := f.number("DATABASE_POOL_SIZE")
				return when(!f.several() && f.Database.Kind == env.SQLite && !set, "not set, which means 512", "DATABASE_POOL_SIZE=8")
			}, false},
		{"D39", Should, "DATABASE_ENABLE_SESSION_SHARING", "true for PostgreSQL, false for SQLite", "more connections are used than are needed; with SQLite requests time out",
			func(f Facts) verdict {
				on := f.is("DATABASE_ENABLE_SESSION_SHARING", false)
				if f.Database.Kind == env.SQLite {
					return when(on, "true", "DATABASE_ENABLE_SESSION_SHARING=false")
				}
				return when(f.several() && !on, "not true", "DATABASE_ENABLE_SESSION_SHARING=true")
			}, false},
		{"D56", Must, "addresses", "addresses and passwords of your own", "nothing can be reached, or everybody knows the password", placeholders, false},
	}
}

// placeholders looks for what was copied from an example. It names variables,
// not what they hold.
func placeholders(f Facts) verdict {
	var names []string
	for name, v := range f.Vars {
		u, err := url.Parse(v.Reveal())
		if err != nil || u.Host == "" {
			continue
		}
		password, _ := u.User.Password()
		if slices.Contains(exampleHosts, u.Hostname()) || slices.Contains([]string{"password", "PASSWORD", "changeme", "your-password"}, password) {
			names = append(names, name)
		}
	}
	if f.get("S3_BUCKET_NAME") == "my-openwebui-bucket" {
		names = append(names, "S3_BUCKET_NAME")
	}
	slices.Sort(names)
	return when(len(names) > 0, "still as in the documentation's example: "+strings.Join(names, ", "), "your own values in "+strings.Join(names, ", "))
}
