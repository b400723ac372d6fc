package env

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/pipeline"
)

// load reads an env file with the given lines.
func load(t *testing.T, text string, environ ...string) (Deployment, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "scaled.env")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load("to", file, "", environ)
}

func TestDatabaseURL(t *testing.T) {
	const six = "DATABASE_TYPE=postgresql\nDATABASE_USER=u\nDATABASE_HOST=h\nDATABASE_PORT=5433\nDATABASE_NAME=d\n"
	tests := []struct{ in, user, pass, host, db, param string }{
		{"DATABASE_URL=postgres://u:p@h/d", "u", "p", "h:5432", "d", ""},
		{"DATABASE_URL=postgresql://u:p@h:6543/d", "u", "p", "h:6543", "d", ""},
		{"DATABASE_URL=postgresql+asyncpg://u:p@h/d?ssl=require", "u", "p", "h:5432", "d", "tls"},
		{"DATABASE_URL=postgresql+psycopg://u:p@h/d?sslmode=require&ssl=disable", "u", "p", "h:5432", "d", "tls"},
		{"DATABASE_URL=postgresql+psycopg2://u:p%40ss%2Fw%3Ad@h/d", "u", "p@ss/w:d", "h:5432", "d", ""},
		{"DATABASE_URL=postgresql://u:a%25b%zz@h/d", "u", "a%b%zz", "h:5432", "d", ""},
		{"DATABASE_URL='postgresql://u:p/w?x#y@h/d'", "u", "p/w?x#y", "h:5432", "d", ""},
		{"DATABASE_URL=postgresql://u@h/d", "u", "", "h:5432", "d", ""},
		{"DATABASE_URL=postgresql://u:p@[::1]:5433/d", "u", "p", "::1:5433", "d", ""},
		{"DATABASE_URL=postgresql://u:p@[::1]/d", "u", "p", "::1:5432", "d", ""},
		{"DATABASE_URL=postgresql://u:p@/d?host=/run/pg&port=5433", "u", "p", "/run/pg:5433", "d", ""},
		{"DATABASE_URL=postgresql://u:p@/d?host=h1:5433", "u", "p", "h1:5433", "d", ""},
		{"DATABASE_URL=postgresql://u:p@h/d?keepalives=1&keepalives_idle=30&gssencmode=disable", "u", "p", "h:5432", "d", ""},
		{"DATABASE_URL=postgresql://u:p@h/d%20e", "u", "p", "h:5432", "d%20e", ""},
		{six + "DATABASE_PASSWORD=p", "u", "p", "h:5433", "d", ""},
		{six + "DATABASE_PASSWORD=p%40ss%2Fw", "u", "p@ss/w", "h:5433", "d", ""},
		{six + "DATABASE_PASSWORD=p/w:d", "u", "p/w:d", "h:5433", "d", ""},
		{six + "DATABASE_URL=postgresql://other:x@y/z\nDATABASE_PASSWORD=p", "u", "p", "h:5433", "d", ""},
		{six, "u", "", "h:5433", "d", ""}, // a user alone is enough for Open WebUI
	}
	for _, tt := range tests {
		d, err := load(t, tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		t.Setenv("PGPASSWORD", "")
		c, err := pgxpool.ParseConfig(d.Database.URL.Reveal())
		if err != nil {
			t.Errorf("%s: pgx does not take it: %v", tt.in, err)
			continue
		}
		cc := c.ConnConfig
		host := cc.Host + ":" + itoa(cc.Port)
		if d.Database.Kind != Postgres || cc.User != tt.user || cc.Password != tt.pass || host != tt.host || cc.Database != tt.db {
			t.Errorf("%s: got %s %q@%s/%s", tt.in, cc.User, cc.Password, host, cc.Database)
		}
		if (tt.param == "tls") != (cc.TLSConfig != nil && len(cc.Fallbacks) == 0) {
			t.Errorf("%s: TLS is %v with %d fallbacks", tt.in, cc.TLSConfig != nil, len(cc.Fallbacks))
		}
		if len(cc.RuntimeParams) > 0 {
			t.Errorf("%s: parameters %v would reach the server", tt.in, cc.RuntimeParams)
		}
		if v := d.Vector; v.Kind != Chroma {
			t.Errorf("%s: vector store %q", tt.in, v.Kind)
		}
	}
}

func itoa(p uint16) string {
	var b []byte
	for ; p > 0; p /= 10 {
		b = append([]byte{byte('0' + p%10)}, b...)
	}
	return string(b)
}

// Each text has mistakes; every one of them is named, with its variable.
func TestMistakes(t *testing.T) {
	const pg = "DATABASE_URL=postgresql://u:p@h/d\nVECTOR_DB=pgvector\n"
	for in, want := range map[string]string{
		"DATABASE_URL=postgresql://u:p@ss/w:d@h:5432/d": "DATABASE_URL",
		"DATABASE_URL=postgresql://u:s3cr3t@@h/d":       "DATABASE_URL",
		"DATABASE_TYPE=postgresql\nDATABASE_USER=u\nDATABASE_PASSWORD=p@ss/w:d\nDATABASE_HOST=h\nDATABASE_PORT=1\nDATABASE_NAME=d": "DATABASE_PASSWORD",
		"DATABASE_URL=":                              "DATABASE_URL",
		"DATABASE_URL=mysql://u:p@h/d":               "DATABASE_URL",
		"DATABASE_URL=h:5432":                        "DATABASE_URL",
		"DATABASE_URL=postgresql://u:p@h:54x2/d":     "DATABASE_URL",
		"DATABASE_URL=postgresql://u:p@h/d?ssl=true": "DATABASE_URL",
		"DATABASE_URL=postgresql://u:p@h/d?sslmod=x": "DATABASE_URL",
		"DATABASE_URL=sqlite://":                     "DATABASE_URL",
		"DATABASE_URL=sqlite:///:memory:":            "DATABASE_URL",
		"DATABASE_URL=sqlite+sqlcipher:///x.db":      "DATABASE_URL",
		"DATABASE_TYPE=sqlite+sqlcipher":             "DATABASE_TYPE",
		"DATA_DIR=":                                  "DATA_DIR",
		"VECTOR_DB=pgvector":                         "PGVECTOR_DB_URL",
		"VECTOR_DB=Chroma":                           "VECTOR_DB",
		"VECTOR_DB=weaviate":                         "VECTOR_DB",
		"VECTOR_DB=":                                 "VECTOR_DB",
		"CHROMA_HTTP_HOST=chroma:8000":               "CHROMA_HTTP_HOST",
		"STORAGE_PROVIDER=S3":                        "STORAGE_PROVIDER",
		"STORAGE_PROVIDER=ftp":                       "STORAGE_PROVIDER",
		"USE_SLIM_DOCKER=true\nVECTOR_DB=chroma\nSTORAGE_PROVIDER=gcs":  "STORAGE_PROVIDER GCS_BUCKET_NAME",
		pg + "PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH=3072":               "PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH",
		pg + "PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH=many":               "PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH",
		pg + "PGVECTOR_PGCRYPTO=true":                                   "PGVECTOR_PGCRYPTO_KEY",
		pg + "PGVECTOR_DB_URL=":                                         "PGVECTOR_DB_URL",
		pg + "DATABASE_ENABLE_IAM_TOKEN_AUTH=True":                      "DATABASE_ENABLE_IAM_TOKEN_AUTH",
		"DATABASE_URL=mysql://u:p@h/d\nVECTOR_DB=x\nSTORAGE_PROVIDER=y": "DATABASE_URL VECTOR_DB STORAGE_PROVIDER",
		"oops\n=x": "",
	} {
		d, err := load(t, in)
		if pipeline.ExitCode(err) != pipeline.ExitUsage {
			t.Errorf("%q: error %v", in, err)
			continue
		}
		var names []string
		for _, e := range ConfigErrors(err) {
			names = append(names, e.Variable)
			if e.Problem == "" || e.Fix == "" || e.Side != "to" {
				t.Errorf("%q: %+v", in, e)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q: names %q, want %q", in, got, want)
		}
		for _, part := range []string{"ss/w", "w:d", "s3cr3t"} {
			if strings.Contains(err.Error(), part) || strings.Contains(in, part) && strings.Contains(d.Redact("dial "+part), part) {
				t.Errorf("%q: %q is shown: %v", in, part, err)
			}
		}
	}
	if _, err := load(t, "VECTOR_DB=weaviate"); !errors.Is(err, ErrNotYet) {
		t.Errorf("error %v is not ErrNotYet", err)
	}
	if _, err := Load("from", filepath.Join(t.TempDir(), "nothing"), "", nil); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("a missing origin gives %v", err)
	}
}

func TestWarnings(t *testing.T) {
	for in, want := range map[string]string{
		"DATABASE_HOST=h": "DATABASE_HOST",
		"DATABASE_URL=postgresql://u:p@h/d\nDATABASE_USER=u":                                                   "DATABASE_USER",
		"DATABASE_URL=postgresql://u:p@h/d?statement_cache_size=0":                                             "DATABASE_URL",
		"DATABASE_URL=postgresql://u:p@h/d?sslrootcert=/nowhere/ca.pem":                                        "DATABASE_URL",
		"DATABASE_URL=postgresql://u:p@h/d\nPGVECTOR_DB_URL=x":                                                 "",
		"DATABASE_URL=postgresql://u:p@h/d\nVECTOR_DB=pgvector\nPGVECTOR_HNSW_M=x\nPGVECTOR_INDEX_METHOD=flat": "PGVECTOR_INDEX_METHOD PGVECTOR_HNSW_M",
		"STORAGE_PROVIDER=":           "STORAGE_PROVIDER",
		"DATABASE_URL":                "DATABASE_URL",
		"X=${NOPE}":                   "X",
		"DATA_DIR=./data":             "DATA_DIR",
		"DATABASE_URL=sqlite:///x.db": "DATABASE_URL",
		"USE_SLIM_DOCKER=1":           "USE_SLIM_DOCKER",
		"WEBUI_SECRET_KEY=":           "WEBUI_SECRET_KEY",
	} {
		d, err := load(t, in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
		}
		var names []string
		for _, w := range d.Warnings {
			names = append(names, w.Variable)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q: warns of %q, want %q", in, got, want)
		}
	}
}

func TestPGVector(t *testing.T) {
	d, err := load(t, "DATABASE_URL=postgres://u:p@h/d\nDATABASE_SCHEMA=owui\nUSE_SLIM_DOCKER=True\n")
	p := d.Vector.PG
	if err != nil || d.Vector.Kind != PGVector || p.URL != d.Database.URL || p.OwnURL || p.MaxLength != 1536 || p.HalfVec ||
		p.IndexMethod != "" || p.HNSWM != 16 || p.HNSWEf != 64 || p.IVFFlatLists != 100 || !p.CreateExtension || d.Database.Schema != "owui" {
		t.Errorf("defaults: %+v, %v", d, err)
	}
	d, err = load(t, "VECTOR_DB=pgvector\nPGVECTOR_DB_URL=postgresql://v:w@vh/vd\nPGVECTOR_USE_HALFVEC=TRUE\nPGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH=3072\n"+
		"PGVECTOR_HNSW_M=32\nPGVECTOR_CREATE_EXTENSION=false\nPGVECTOR_PGCRYPTO=true\nPGVECTOR_PGCRYPTO_KEY=k")
	p = d.Vector.PG
	if err != nil || d.Database.Kind != SQLite || !p.OwnURL || p.MaxLength != 3072 || !p.HalfVec || p.IndexMethod != "hnsw" || p.HNSWM != 32 ||
		p.CreateExtension || !p.PGCrypto || p.PGCryptoKey.Reveal() != "k" || DescribeURL(p.URL) != "vh/vd" {
		t.Errorf("own: %+v, %v", d, err)
	}
	d, err = load(t, "DATABASE_URL=postgres://u:p@h/d\nVECTOR_DB=pgvector\nPGVECTOR_USE_HALFVEC=true\nPGVECTOR_INDEX_METHOD= IVFFLAT \n")
	if err != nil || d.Vector.PG.IndexMethod != "ivfflat" {
		t.Errorf("method %q, %v", d.Vector.PG.IndexMethod, err)
	}
}

func TestFolders(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, ".webui_secret_key"), []byte("file-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Load("from", data, "", []string{"DATABASE_URL=postgresql://not:mine@h/d", "OUTGROW_TO_VECTOR_DB=x"})
	if err != nil || !d.IsFolder || d.Mount != data || d.DataDir != data || d.Database.Path != data+"/webui.db" || d.Vector.Path != data+"/vector_db" ||
		d.Files.Provider != Local || d.SecretKey.Reveal() != "file-key" || d.Vector.Chroma.Tenant != "default_tenant" || d.Database.Describe() != data+"/webui.db" {
		t.Errorf("folder: %+v, %v", d, err)
	}
	if d.CheckMount() != nil {
		t.Errorf("CheckMount: %v", d.CheckMount())
	}
	d, err = Load("from", data, "", []string{"OUTGROW_FROM_DATABASE_URL=postgresql://u:p@h/d", "OUTGROW_FROM_WEBUI_SECRET_KEY=env-key", "OUTGROW_FROM_DATA_DIR=/app/backend/data/"})
	if err != nil || d.Database.Describe() != "h/d" || d.SecretKey.Reveal() != "env-key" || d.DataDir != "/app/backend/data" || d.Mount != data {
		t.Errorf("overrides: %+v, %v", d, err)
	}

	file := filepath.Join(dir, "x.env")
	for _, tt := range []struct{ text, mount, wantDir, wantMount, wantDB string }{
		{"", "", "/app/backend/data", "/app/backend/data", "/app/backend/data/webui.db"},
		{"", data, "/app/backend/data", data, data + "/webui.db"},
		{"DATA_DIR=/srv//owui/./data/", data, "/srv/owui/data", data, data + "/webui.db"},
		{"DATA_DIR=/srv/d\nDATABASE_URL=sqlite:////srv/d/sub/w.db", data, "/srv/d", data, data + "/sub/w.db"},
		{"DATA_DIR=/srv/d\nDATABASE_URL=sqlite:////other/w.db", data, "/srv/d", data, "/other/w.db"},
		{"DATABASE_URL=sqlite:///data/w.db", data, "/app/backend/data", data, data + "/w.db"},
		{"DATABASE_URL=sqlite:///./w.db?timeout=3", data, "/app/backend/data", data, dir + "/w.db"},
		{"DATA_DIR=data", "", "data", data, data + "/webui.db"},
	} {
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Load("from", file, tt.mount, nil)
		if err != nil || d.DataDir != tt.wantDir || d.Mount != tt.wantMount || d.Database.Path != tt.wantDB || d.MountGiven != (tt.mount != "") {
			t.Errorf("%+v: got %s %s %s, %v", tt, d.DataDir, d.Mount, d.Database.Path, err)
		}
	}
	d, _ = Load("to", file, filepath.Join(dir, "none"), nil)
	if err := d.CheckMount(); err == nil || !strings.Contains(err.Error(), "--to-mount") {
		t.Errorf("CheckMount: %v", err)
	}
}

func TestEnvFileReferences(t *testing.T) {
	d, err := load(t, "PW=abc\nDATABASE_URL=postgresql://u:${PW}@${HOST}/${DB:-owui}\n", "HOST=pg", "OUTGROW_TO_PW=over")
	if err != nil || d.Database.Describe() != "pg/owui" || !strings.Contains(d.Database.URL.Reveal(), ":over@") {
		t.Errorf("got %q, %v", d.Database.URL.Reveal(), err)
	}
	d, err = load(t, "CHROMA_HTTP_HOST=x\n", "OUTGROW_TO_CHROMA_HTTP_HOST=")
	if err != nil || d.Vector.Kind != Chroma {
		t.Errorf("an empty override does not remove: %v", err)
	}
	// As python-dotenv has it, a name alone takes back what a line above gave.
	d, err = load(t, "DATABASE_URL=postgresql://u@old/owui\nDATABASE_URL\n")
	if err != nil || d.Database.Kind != SQLite || len(d.Warnings) == 0 {
		t.Errorf("a name without a value: %v, %v", d.Database.Kind, err)
	}
}
