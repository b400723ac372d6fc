package env

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWithDatabase(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"postgresql://u:p@db:5432/chat":                    "postgresql://u:p@db:5432/other",
		"postgresql://u:p%2Fx@db/chat?sslmode=require":     "postgresql://u:p%2Fx@db/other?sslmode=require",
		"postgresql://u:chat@chat/chat?application_name=/": "postgresql://u:chat@chat/other?application_name=/",
		"postgresql://u:p/x?y@db:5432/chat":                "postgresql://u:p/x?y@db:5432/other",
		"postgresql+psycopg://u@[::1]:5432/chat":           "postgresql+psycopg://u@[::1]:5432/other",
		"postgresql://u@db:5432":                           "postgresql://u@db:5432/other",
		"postgresql://u@db:5432/":                          "postgresql://u@db:5432/other",
		"postgresql://u@db?sslmode=disable":                "postgresql://u@db/other?sslmode=disable",
		"postgresql://u@db/chat?":                          "postgresql://u@db/other",
		"postgresql:///chat?host=/run/postgresql":          "postgresql:///other?host=/run/postgresql",
	} {
		if got, err := withDatabase(raw, "other"); err != nil || got != want {
			t.Errorf("%s: %s, want %s (%v)", raw, got, want, err)
		}
	}
	for _, raw := range []string{"", "db/chat", "postgresql://u@db/chat?dbname=x", "postgresql://u@db?service=x"} {
		if got, err := withDatabase(raw, "other"); err == nil {
			t.Errorf("%q became %s", raw, got)
		}
	}
}

// What OtherDatabase gives leads to the other database, whichever way the first
// one was named.
func TestOtherDatabase(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"DATABASE_URL=postgres://u:p@db:5432/chat?sslmode=disable\n",
		"DATABASE_TYPE=postgresql\nDATABASE_USER=u\nDATABASE_PASSWORD=p\nDATABASE_HOST=db\nDATABASE_PORT=5432\nDATABASE_NAME=chat\n",
	} {
		file := filepath.Join(t.TempDir(), "to.env")
		if err := os.WriteFile(file, []byte(text+"VECTOR_DB=pgvector\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Load("to", file, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		vars, err := d.OtherDatabase("other")
		if err != nil {
			t.Fatal(err)
		}
		var environ []string
		for k, v := range vars {
			environ = append(environ, "OUTGROW_TO_"+k+"="+v.Reveal())
		}
		o, err := Load("to", file, "", environ)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Replace(d.Database.URL.Reveal(), "/chat", "/other", 1)
		if o.Database.URL.Reveal() != want || o.Vector.PG.URL.Reveal() != want || o.Database.Describe() != "db/other" || len(o.Warnings) > 0 {
			t.Errorf("%s leads to %s, want %s; %v", text, o.Database.URL.Reveal(), want, o.Warnings)
		}
	}
}
