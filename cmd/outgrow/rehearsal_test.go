package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// rehearsingOn is a rehearsal for a target of these variables, without a server.
func rehearsingOn(t *testing.T, vars string, cmd rehearseCmd) *rehearsing {
	t.Helper()
	dir := t.TempDir()
	cmd.From, cmd.To = filepath.Join(dir, "data"), filepath.Join(dir, "scaled.env")
	if err := os.Mkdir(cmd.From, 0o755); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll("DATABASE_URL=postgresql://u:secret@db/chat\n"+vars, "HERE", dir)
	if err := os.WriteFile(cmd.To, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &app{ctx: t.Context()}
	from, to, err := a.sides(cmd.pair, laneFlags{Only: []string{string(pipeline.Rows)}})
	if err != nil {
		t.Fatal(err)
	}
	return &rehearsing{app: a, cmd: &cmd, from: from, to: to, dir: filepath.Join(dir, "scaled.outgrow"), state: rehearsalState{ID: "5a", Database: "outgrow_rehearsal"}}
}

const onS3 = "STORAGE_PROVIDER=s3\nS3_BUCKET_NAME=b\nS3_ACCESS_KEY_ID=k\nS3_SECRET_ACCESS_KEY=bucketkey\n"

// Where the scratch side is, and what it is made of, for each kind of target.
func TestRehearsalAside(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, vars string
		cmd        rehearseCmd
		without    string   // why there is no pgvector
		data       string   // below the test's folder
		lanes      []string // beside the rows
		set        map[string]string
	}{
		{name: "everything", vars: "VECTOR_DB=pgvector\nDATA_DIR=HERE/share\n", data: "share-rehearsal", lanes: []string{"vectors", "files"},
			set: map[string]string{"STORAGE_PROVIDER": "local", "DATA_DIR": "share-rehearsal"}},
		{name: "the source's folder in place", vars: "VECTOR_DB=pgvector\n", data: "data-rehearsal", lanes: []string{"vectors", "files"},
			set: map[string]string{"STORAGE_PROVIDER": "local", "DATA_DIR": "data-rehearsal"}},
		{name: "vectors in a database of their own", vars: "VECTOR_DB=pgvector\nPGVECTOR_DB_URL=postgresql://v@other/v\nPGVECTOR_USE_HALFVEC=true\nDATA_DIR=HERE/share\n", data: "share-rehearsal", lanes: []string{"vectors", "files"},
			set: map[string]string{"STORAGE_PROVIDER": "local", "DATA_DIR": "share-rehearsal", "PGVECTOR_DB_URL": ""}},
		{name: "no extension", vars: "VECTOR_DB=pgvector\nPGVECTOR_USE_HALFVEC=true\nDATA_DIR=HERE/share\n", without: "only a superuser may", data: "share-rehearsal", lanes: []string{"files"},
			set: map[string]string{"STORAGE_PROVIDER": "local", "DATA_DIR": "share-rehearsal", "VECTOR_DB": "chroma", "PGVECTOR_USE_HALFVEC": ""}},
		{name: "Qdrant and a bucket", vars: "VECTOR_DB=qdrant\nQDRANT_URI=http://q:6333\nQDRANT_API_KEY=vectorkey\n" + onS3,
			set: map[string]string{"STORAGE_PROVIDER": "local", "DATA_DIR": "scaled.outgrow/rehearsal/data", "VECTOR_DB": "chroma", "QDRANT_URI": "", "QDRANT_API_KEY": "", "S3_BUCKET_NAME": "", "S3_ACCESS_KEY_ID": "", "S3_SECRET_ACCESS_KEY": ""}},
		{name: "a bucket, and a folder instead", vars: "VECTOR_DB=pgvector\n" + onS3, cmd: rehearseCmd{Data: "HERE/looked-at"}, data: "looked-at", lanes: []string{"vectors", "files"},
			set: map[string]string{"STORAGE_PROVIDER": "local", "DATA_DIR": "looked-at", "S3_BUCKET_NAME": "", "S3_ACCESS_KEY_ID": "", "S3_SECRET_ACCESS_KEY": ""}},
		{name: "rows alone", vars: "VECTOR_DB=pgvector\nDATA_DIR=HERE/share\n", cmd: rehearseCmd{laneFlags: laneFlags{Only: []string{"rows"}}},
			set: map[string]string{"STORAGE_PROVIDER": "local", "DATA_DIR": "scaled.outgrow/rehearsal/data", "VECTOR_DB": "chroma"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := rehearsingOn(t, c.vars, c.cmd)
			dir := filepath.Dir(r.dir)
			r.cmd.Data = strings.ReplaceAll(r.cmd.Data, "HERE", dir)
			in := func(name string) string {
				if name == "" {
					return ""
				}
				return filepath.Join(dir, name)
			}
			var err error
			if r.state.Data, err = r.folder(); err != nil || r.state.Data != in(c.data) {
				t.Errorf("the folder is %q, want %q (%v)", r.state.Data, in(c.data), err)
			}
			r.chooseLanes(c.without)
			if want := append([]string{"rows"}, c.lanes...); !slices.Equal(r.lanes, want) {
				t.Errorf("the lanes are %v, want %v; left: %v", r.lanes, want, r.left)
			}
			got := map[string]string{}
			for name, v := range r.aside() {
				got[name] = v.Reveal()
			}
			want := maps.Clone(c.set)
			want["DATA_DIR"] = in(want["DATA_DIR"])
			if !maps.Equal(got, want) {
				t.Errorf("aside: %q, want %q", got, want)
			}
			side, _, err := r.load(r.aside())
			if err != nil {
				t.Fatal(err)
			}
			if side.Database.Describe() != "db/outgrow_rehearsal" || side.Files.Provider != env.Local || side.Vector.Kind == env.PGVector && side.Vector.PG.URL != side.Database.URL {
				t.Errorf("it leads to %s, %s, %s", side.Database.Describe(), side.Files.Provider, side.Vector.Kind)
			}
			if want := in(c.set["DATA_DIR"]); side.DataDir != want || side.Mount != want {
				t.Errorf("DATA_DIR is %s at %s", side.DataDir, side.Mount)
			}
		})
	}
}

// A folder that is somebody's is never chosen, claimed or removed.
func TestRehearsalFolder(t *testing.T) {
	t.Parallel()
	r := rehearsingOn(t, "VECTOR_DB=pgvector\nDATA_DIR=HERE/share\n", rehearseCmd{})
	dir := filepath.Dir(r.dir)
	for _, in := range []string{"share/x", "share", "data/x", "scaled.outgrow/x", "", ".."} { // the last two would hold others in time
		r.cmd.Data = filepath.Join(dir, in)
		if got, err := r.folder(); pipeline.ExitCode(err) != pipeline.ExitUsage {
			t.Errorf("%s: %q %v", in, got, err)
		}
	}
	r.cmd.Data = ""
	r.state.ID = ""
	if err := os.MkdirAll(filepath.Join(r.dir, rehearsalFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.settle(); pipeline.ExitCode(err) != pipeline.ExitUsage || r.state.ID != "" {
		t.Errorf("a folder of the rehearsal's name is in the state folder: %v", err)
	}
	r.state = rehearsalState{ID: "5a", Data: filepath.Join(dir, "looked-at")}
	refused := func(what string, err error) {
		t.Helper()
		if pipeline.ExitCode(err) != pipeline.ExitUsage || pipeline.HintOf(err) == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := os.Mkdir(r.state.Data, 0o755); err != nil {
		t.Fatal(err)
	}
	refused("claiming an empty folder", r.claimFolder())
	refused("removing an empty folder", r.removeFolder())
	if err := os.Remove(r.state.Data); err != nil {
		t.Fatal(err)
	}
	if err := r.removeFolder(); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
	for range 2 { // the second time it is its own
		if err := r.claimFolder(); err != nil {
			t.Fatal(err)
		}
	}
	other := *r
	other.state.ID = "5b"
	refused("claiming another's", other.claimFolder())
	refused("removing another's", other.removeFolder())
	target := r.to.Mount
	r.to.Mount = filepath.Join(r.state.Data, "kept")
	refused("removing what the target has come to use", r.removeFolder())
	r.to.Mount = target
	moved := r.state.Data + ".moved"
	if err := os.Rename(r.state.Data, moved); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(moved, r.state.Data); err != nil {
		t.Fatal(err)
	}
	refused("removing a link", r.removeFolder())
	if err := os.Remove(r.state.Data); err != nil {
		t.Fatal(err)
	}
	r.state.Phase = rehearsalReady
	refused("going on without the folder", r.claimFolder())
	if err := os.Rename(moved, r.state.Data); err != nil {
		t.Fatal(err)
	}
	gone := func(when string) {
		t.Helper()
		if err := r.removeFolder(); err != nil || exists(r.state.Data) || exists(r.unmarked()) {
			t.Errorf("%s: the folder is left: %v", when, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(r.state.Data, "uploads", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	gone("filled")
	gone("gone already")

	// As a kill leaves it: made without its mark, and half removed.
	r.state.Phase = rehearsalMaking
	for _, then := range []func() error{r.claimFolder, func() error { return nil }} {
		if err := os.MkdirAll(filepath.Join(r.unmarked(), "uploads"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := then(); err != nil {
			t.Fatal(err)
		}
		gone("half made")
	}
}

// The env file is written where nobody else's is, and only one's own is removed.
func TestRehearsalEnvFile(t *testing.T) {
	t.Parallel()
	r := rehearsingOn(t, "VECTOR_DB=pgvector\nWEBHOOK_URL=https://hooks.example.com/x\nREDIS_URL=redis://:cachekey@r\nWEBUI_SECRET_KEY=k\n", rehearseCmd{Data: "/nowhere"})
	r.state.Data = "/nowhere"
	r.lanes = []string{"rows", "vectors", "files"}
	var err error
	if r.scratch, r.set, err = r.load(r.aside()); err != nil {
		t.Fatal(err)
	}
	if err := r.lock(); err != nil {
		t.Fatal(err)
	}
	defer r.unlock()
	dir := filepath.Dir(r.dir)
	for path, want := range map[string]int{r.cmd.To: pipeline.ExitUsage, filepath.Join(r.cmd.From, "x.env"): pipeline.ExitUsage, filepath.Join(dir, "x.env"): pipeline.ExitOK} {
		r.cmd.EnvOut = path
		if err := r.checkEnvOut(); pipeline.ExitCode(err) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	r.cmd.EnvOut = filepath.Join(dir, "x.env")
	var out strings.Builder
	r.out = &out
	if err := r.show(pipeline.ExitOK); err != nil {
		t.Fatal(err)
	}
	text := readFile(t, r.cmd.EnvOut)
	for _, line := range []string{"# outgrow rehearsal 5a ", "DATABASE_URL=postgresql://u:secret@db/outgrow_rehearsal\n", "SAFE_MODE=true\n", "DATA_DIR=/nowhere\n", "WEBUI_SECRET_KEY=k\n", "WEBUI_NAME=Open WebUI rehearsal\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("the env file lacks %q:\n%s", line, text)
		}
	}
	for _, word := range []string{"hooks.example.com", "cachekey", "REDIS_URL"} {
		if strings.Contains(text, word) {
			t.Errorf("the env file holds %q", word)
		}
	}
	if info, err := os.Stat(r.cmd.EnvOut); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the env file: %v %v", info, err)
	}
	if err := r.checkEnvOut(); err != nil {
		t.Errorf("its own file: %v", err)
	}
	said := out.String()
	r.cmd.EnvOut = ""
	out.Reset()
	if err := r.show(pipeline.ExitOK); err != nil {
		t.Fatal(err)
	}
	if said += out.String(); strings.Contains(said, "secret@") || !strings.Contains(said, "and without REDIS_URL, WEBHOOK_URL") || !strings.Contains(said, "/outgrow_rehearsal") {
		t.Errorf("it says\n%s", said)
	}
	path := r.state.EnvFile
	if err := os.WriteFile(path, []byte("# mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.removeEnvFile(); err != nil || readFile(t, path) != "# mine\n" || r.state.EnvFile != "" {
		t.Errorf("another's file: %v", err)
	}
	r.state.EnvFile = path
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.removeEnvFile(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the env file is left")
	}
}
