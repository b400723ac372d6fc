package servers

import (
	"os"
	"path/filepath"
	"testing"
)

// Settings describe a server that a test wants for itself.
type Settings struct {
	Version string // "16" (the default) or "18" with pgvector, "15" from Debian
	Fsync   bool   // keep what it acknowledged through a crash of the server; off, as tests kill clients, not servers
	Options string // more options of the postgres program, for example "-c max_connections=20"
}

// Start starts a server of the test's own and returns its superuser's DSN. It ends with the test. Give the DSN to
// [Database]. Where the server cannot be had the test is skipped.
func Start(tb testing.TB, settings Settings) string {
	tb.Helper()
	dsn, stop, err := serve(testdata(tb), settings)
	if err != nil {
		Skip(tb, "no PostgreSQL %s: %v", settings.Version, err)
	}
	tb.Cleanup(stop)
	return dsn
}

// serve runs postgres.sh serve; see launch.
func serve(testdata string, settings Settings) (dsn string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "outgrow-pg.")
	if err != nil {
		return "", nil, err
	}
	env := []string{"OUTGROW_PG=" + settings.Version, "OUTGROW_PG_OPTIONS=" + settings.Options}
	if settings.Fsync {
		env = append(env, "OUTGROW_PG_FSYNC=1")
	}
	return launch(filepath.Join(testdata, "servers", "postgres.sh"), env, "serve", dir)
}
