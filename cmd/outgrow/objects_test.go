package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"outgrow/mappings/env"
	"outgrow/mappings/s3"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// s3Vars are the variables of a bucket of the test's own.
func s3Vars(tb testing.TB) map[string]string {
	tb.Helper()
	s := servers.S3(tb)
	return map[string]string{"STORAGE_PROVIDER": "s3", "S3_ENDPOINT_URL": s.Endpoint, "S3_ACCESS_KEY_ID": s.AccessKey, "S3_SECRET_ACCESS_KEY": s.SecretKey,
		"S3_REGION_NAME": "us-east-1", "S3_BUCKET_NAME": s.NewBucket(tb), "S3_KEY_PREFIX": "pre"}
}

// providers are the storage providers that the tests move files to, and how
// file.path begins there.
var providers = map[string]func(testing.TB) (vars map[string]string, path string){
	"s3": func(tb testing.TB) (map[string]string, string) {
		v := s3Vars(tb)
		return v, "s3://" + v["S3_BUCKET_NAME"] + "/pre/"
	},
	"gcs": func(tb testing.TB) (map[string]string, string) {
		s := servers.GCS(tb)
		bucket := s.Bucket(tb)
		return map[string]string{"STORAGE_PROVIDER": "gcs", "GCS_BUCKET_NAME": bucket, "STORAGE_EMULATOR_HOST": s.Endpoint}, "gs://" + bucket + "/"
	},
	"azure": func(tb testing.TB) (map[string]string, string) {
		s := servers.Azure(tb)
		container := s.Container(tb)
		return map[string]string{"STORAGE_PROVIDER": "azure", "AZURE_STORAGE_ENDPOINT": s.Endpoint, "AZURE_STORAGE_CONTAINER_NAME": container, "AZURE_STORAGE_KEY": s.Key},
			s.Endpoint + "/" + container + "/"
	},
}

// deployment is what the lab's target says.
func (l *lab) deployment() env.Deployment {
	l.tb.Helper()
	d, err := env.Load("to", l.env, "", nil)
	if err != nil {
		l.tb.Fatal(err)
	}
	return d
}

// objects lists the target's uploads with their contents.
func (l *lab) objects() map[string]string {
	l.tb.Helper()
	d, out := l.deployment(), map[string]string{}
	src, err := fileStoreOf(d.Files).source(context.Background(), fileSide{files: d.Files, spool: l.tb.TempDir()})
	if err != nil {
		l.tb.Fatal(err)
	}
	defer src.Close() //nolint:errcheck // only read
	for b, err := range src.Read(context.Background(), pipeline.Part{Unit: uploadsUnit()}, "") {
		if err != nil {
			l.tb.Fatal(err)
		}
		for _, o := range b.Records {
			r, err := o.Open(context.Background())
			if err != nil {
				l.tb.Fatal(err)
			}
			body, err := io.ReadAll(r)
			_ = r.Close()
			if err != nil {
				l.tb.Fatal(err)
			}
			out[strings.TrimPrefix(o.Name, "uploads/")] = string(body)
		}
	}
	return out
}

// put stores uploads on the target, over what is there.
func (l *lab) put(files map[string]string) {
	l.tb.Helper()
	d := l.deployment()
	dst, err := fileStoreOf(d.Files).sink(context.Background(), fileSide{files: d.Files, replace: true})
	if err != nil {
		l.tb.Fatal(err)
	}
	defer dst.Close() //nolint:errcheck // nothing is pending
	b := pipeline.Batch[*pipeline.Object]{Part: pipeline.Part{Unit: uploadsUnit()}}
	for name, body := range files {
		b.Records = append(b.Records, &pipeline.Object{Name: "uploads/" + name, Bytes: int64(len(body)),
			Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }})
	}
	if out, err := dst.Write(context.Background(), b); err != nil || out.Written != len(files) {
		l.tb.Fatalf("%+v, %v", out, err)
	}
}

// inUploads reads the uploads of a data folder.
func inUploads(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(filepath.Join(dir, "uploads"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		body, err := os.ReadFile(filepath.Join(dir, "uploads", e.Name()))
		if err != nil {
			tb.Fatal(err)
		}
		out[e.Name()] = string(body)
	}
	return out
}

// eachProvider runs a test for every provider whose server is here.
func eachProvider(t *testing.T, test func(t *testing.T, vars map[string]string, path string)) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(providers)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars, path := providers[name](t)
			test(t, vars, path)
		})
	}
}

// The whole cutover with the target's files in an object store: uploads go
// there, what is served from the disk to the target's DATA_DIR.
func TestCutoverToObjects(t *testing.T) {
	t.Parallel()
	eachProvider(t, func(t *testing.T, vars map[string]string, path string) {
		l := newLab(t, "")
		for k, v := range vars {
			l.set(k, v)
		}
		before := tree(t, l.from)
		l.plan().exits(0, "files: ", "; cache/ copied to "+l.share, "4 files", "in the target bucket", "30 values will be changed to fit: path")
		if have := l.objects(); len(have) > 0 {
			t.Errorf("plan stored %d objects", len(have))
		}
		l.migrate().exits(0, "done    2,972 rows, 674 vectors, 34 files", "never through the storage provider")
		l.equal().says("34 files compared, 34 equal")
		l.equal("--deep").says("34 files compared, 34 equal")
		if have := l.objects(); !maps.Equal(have, inUploads(t, l.from)) {
			t.Errorf("%d objects, not those of the source", len(have))
		}
		if _, n := l.paths(path); n != 30 {
			t.Errorf("%d paths begin with %s", n, path)
		}
		if _, err := os.Stat(filepath.Join(l.share, "uploads")); err == nil {
			t.Error("uploads were copied to the folder, too")
		}
		if _, err := os.Stat(filepath.Join(l.share, "cache")); err != nil {
			t.Error(err)
		}
		l.migrate().exits(0, "nothing is done twice")
		l.in("status", "--to", l.env).exits(0, "rows    complete", "files   complete", "34 files")
		unchanged(t, l.from, before)
	})
}

// A deployment on PostgreSQL goes from its disk to an object store and back, by
// revert, and by moving the files the other way.
func TestSwitchProvider(t *testing.T) {
	t.Parallel()
	eachProvider(t, func(t *testing.T, vars map[string]string, path string) {
		l := onPostgres(t, vars)
		old, _ := l.paths("")
		l.plan("--only", "files").exits(0, "file.path of 30 rows is switched", "cache/ in the same folder, in place")
		l.migrate("--only", "files").exits(0, "30 files", "paths   30 rows switched", "outgrow files revert --to", "next    outgrow verify --from", "--only files")
		l.equal("--only", "files").says("30 files compared, 30 equal", "30 paths of table file")
		if _, n := l.paths(path); n != 30 {
			t.Errorf("%d paths begin with %s", n, path)
		}
		l.in("status", "--to", l.env).exits(0, "paths   of 30 rows were switched to ")
		l.revert().exits(0, "30 rows have their old file.path again")
		if now, _ := l.paths(""); now != old {
			t.Error("the paths are not what they were")
		}
		l.verify("--only", "files").exits(4, "30 differences")
		l.migrate("--only", "files").exits(0, "paths   30 rows switched")

		// The app makes a file; all go back to a new folder.
		l.put(map[string]string{"0c0ffee0-0000-4000-8000-000000000001_new.txt": "made since"})
		do(t, l.dsn, "INSERT INTO file (id, user_id, filename, path, created_at, updated_at) VALUES ('0c0ffee0-0000-4000-8000-000000000001', 'u', 'x', '"+path+"0c0ffee0-0000-4000-8000-000000000001_new.txt', 1, 1)")
		share := t.TempDir()
		clear := map[string]string{"DATA_DIR": share}
		for k := range vars {
			clear[k] = ""
		}
		home := l.other(clear)
		home.migrate("--only", "files").exits(0, "35 files", "paths   31 rows switched")
		home.equal("--only", "files").says("35 files compared, 35 equal")
		if have := inUploads(t, share); !maps.Equal(have, l.objects()) || len(have) != 31 {
			t.Errorf("%d files came back", len(have))
		}
		l.revert().exits(2, "switched again since").nextStep()
	})
}

// verify names what is missing, has other bytes, or is there beside.
func TestVerifyObjects(t *testing.T) {
	t.Parallel()
	l := onPostgres(t, s3Vars(t))
	l.migrate("--only", "files").exits(0)
	names := slices.Sorted(maps.Keys(l.objects()))
	folder := filepath.Join(servers.S3(t).Folder(l.vars["S3_BUCKET_NAME"]), "pre")
	if err := os.Remove(filepath.Join(folder, names[3])); err != nil {
		t.Fatal(err)
	}
	l.put(map[string]string{names[5]: strings.ToUpper(l.objects()[names[5]]) + "!", "extra.txt": "nobody's"})
	for _, more := range [][]string{nil, {"--deep"}} {
		r := l.verify(append(more, "--only", "files")...).exits(4, "3 differences")
		for _, want := range []string{"+ files/uploads uploads/" + names[3], "* files/uploads uploads/" + names[5], "- files/uploads uploads/extra.txt"} {
			r.says(want)
		}
	}
	// Bytes that rot while the store still keeps the old digest.
	at := filepath.Join(folder, names[7])
	body, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	body[0] ^= 1
	f, err := os.OpenFile(at, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	l.verify("--only", "files").exits(4, "3 differences")
	l.verify("--only", "files", "--deep").exits(4, "4 differences", names[7])
}

// A pass brings a bucket up to the folder: what is new, changed or gone, and nothing
// of others.
func TestSyncToObjects(t *testing.T) {
	t.Parallel()
	l := onPostgres(t, s3Vars(t))
	l.migrate("--only", "files").exits(0)
	l.put(map[string]string{"others.txt": "nobody's"})
	before := l.objects()
	names := slices.Sorted(maps.Keys(before))
	changed, gone := names[1], names[2]
	uploads := filepath.Join(l.share, "uploads")
	if err := errors.Join(os.WriteFile(filepath.Join(uploads, changed), []byte("changed"), 0o600), os.WriteFile(filepath.Join(uploads, "new.txt"), []byte("new"), 0o600),
		os.Remove(filepath.Join(uploads, gone))); err != nil {
		t.Fatal(err)
	}
	l.sync("--only", "files", "--accept", "drift").exits(0, "1 new, 1 changed, 1 removed, 0 refused", "--allow-deletes")
	now := l.objects()
	if _, there := now[gone]; there || now[changed] == before[changed] || now["new.txt"] == "" || now["others.txt"] == "" || len(now) != len(before) {
		t.Errorf("the bucket holds %d objects, before %d; %v", len(now), len(before), now)
	}
	l.sync("--only", "files", "--accept", "drift", "--allow-deletes").exits(0, "0 new, 0 changed, 1 removed, 0 refused")
	l.verify("--only", "files").exits(0)
}

// An object of a bucket that was replaced by one of its size within the second in which
// it was written is another one all the same: S3 tells no finer time.
func TestSyncFromObjectsOfOneSecond(t *testing.T) {
	t.Parallel()
	old := onPostgres(t, s3Vars(t))
	put := func(body string) {
		t.Helper()
		old.put(map[string]string{"quick.txt": body})
		file := filepath.Join(servers.S3(t).Folder(old.vars["S3_BUCKET_NAME"]), "pre", "quick.txt")
		when := time.Unix(1_800_000_000, 0)
		if err := os.Chtimes(file, when, when); err != nil {
			t.Fatal(err)
		}
	}
	put("one")
	l := old.other(s3Vars(t))
	files := []string{"--only", "files"}
	l.migrate(files...).exits(0)
	l.sync(files...).exits(0, "0 new, 0 changed")
	put("two")
	l.sync(files...).exits(0, "1 changed")
	if got := l.objects()["quick.txt"]; got != "two" {
		t.Errorf("the target has %q", got)
	}
	l.sync(files...).exits(0, "0 new, 0 changed")
	l.verify(files...).exits(0)
}

// Files that Open WebUI serves from the disk are never dropped in silence.
func TestCacheLeft(t *testing.T) {
	t.Parallel()
	l := newLab(t, "", servers.Plain)
	l.set("VECTOR_DB", "")
	for k, v := range s3Vars(t) {
		l.set(k, v)
	}
	l.set("DATA_DIR", "/app/is/elsewhere")
	flags := []string{"--only", "rows,files"}
	l.plan(flags...).exits(0, "4 files", "--to-mount DIR", "--accept cache-left")
	l.migrate(flags...).exits(4, "cache-left")
	l.verify(flags...).exits(4, "left behind")
	l.migrate(append(flags, "--accept", "cache-left")...).exits(0)
	l.equal(flags...)
	l.migrate(append(flags, "--to-mount", filepath.Join(l.dir, "nowhere"))...).exits(2, "not a folder")
	// Without such files nothing is asked.
	bare := servers.DataDir(t)
	if err := os.RemoveAll(filepath.Join(bare, "cache")); err != nil {
		t.Fatal(err)
	}
	n := newLab(t, bare, servers.Plain)
	n.set("VECTOR_DB", "")
	for k, v := range s3Vars(t) {
		n.set(k, v)
	}
	n.set("DATA_DIR", "/app/is/elsewhere")
	if r := n.migrate(flags...).exits(0); strings.Contains(r.both(), "cache") {
		t.Errorf("the cache is spoken of:\n%s", r.both())
	}
	n.equal(flags...)
}

// The same bucket on both sides: the files stay, the rows move.
func TestObjectsInPlace(t *testing.T) {
	t.Parallel()
	vars := s3Vars(t)
	l := newLab(t, "", servers.Plain)
	l.set("VECTOR_DB", "")
	for k, v := range vars {
		l.set(k, v)
	}
	l.set("DATA_DIR", "")
	l.put(inUploads(t, l.from))
	for k, v := range vars {
		l.environ = append(l.environ, "OUTGROW_FROM_"+k+"="+v)
	}
	flags := []string{"--only", "rows,files"}
	l.plan(flags...).exits(0, ", in place", "30 uploads")
	l.migrate(flags...).exits(0, "0 files")
	if _, n := l.paths("s3://" + vars["S3_BUCKET_NAME"] + "/pre/"); n != 30 {
		t.Errorf("%d paths lead to the bucket", n)
	}
	l.equal(flags...)
	// One place inside the other would be read again as what it was made of.
	l.set("S3_KEY_PREFIX", "pre/new")
	l.plan(flags...).exits(2, "one prefix lies in the other").nextStep()
}

// Neither key nor secret of a store is printed or kept.
func TestNoStoreSecret(t *testing.T) {
	t.Parallel()
	vars := s3Vars(t)
	l := onPostgres(t, vars)
	secret := vars["S3_SECRET_ACCESS_KEY"]
	var said strings.Builder
	for _, more := range [][]string{nil, {"--json"}} {
		for _, command := range []string{"plan", "migrate", "verify"} {
			said.WriteString(l.in(l.pair(command, append(more, "--only", "files")...)...).exits(0).both())
		}
		said.WriteString(l.in(append([]string{"status", "--to", l.env}, more...)...).exits(0).both())
		said.WriteString(l.revert(more...).exits(0).both())
	}
	l.set("S3_SECRET_ACCESS_KEY", "wrong-"+secret)
	for _, command := range []string{"plan", "migrate", "verify"} {
		r := l.in(l.pair(command, "--only", "files")...).exits(3)
		said.WriteString(r.both())
		r.nextStep()
	}
	err := filepath.WalkDir(strings.TrimSuffix(l.env, ".env")+".outgrow", func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			body, rerr := os.ReadFile(path)
			said.Write(body)
			err = rerr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	said.WriteString(ask[string](l, "SELECT string_agg(s::text, ' ') FROM outgrow.path_switch s"))
	if strings.Contains(said.String(), secret) {
		t.Error("the secret is in the output or in the state")
	}
	if strings.Contains(said.String(), vars["S3_ACCESS_KEY_ID"]) {
		t.Error("the access key is in the output or in the state")
	}
	if said.Len() < 5000 {
		t.Error(fmt.Sprint("only ", said.Len(), " bytes were looked into"))
	}
}

// With S3_ENABLE_TAGGING the objects have the tags that Open WebUI gives them.
func TestTaggedObjects(t *testing.T) {
	t.Parallel()
	vars := s3Vars(t)
	vars["S3_ENABLE_TAGGING"] = "true"
	l := onPostgres(t, vars)
	id := ask[string](l, "SELECT min(id) FROM file WHERE path <> ''")
	do(t, l.dsn, `UPDATE "user" SET name = 'Zoë Müller, Jr.', email = 'zoe+x@example.org' WHERE id = (SELECT user_id FROM file WHERE id = '`+id+`')`)
	user := ask[string](l, "SELECT user_id FROM file WHERE id = $1", id)
	l.migrate("--only", "files").exits(0)
	b, err := s3.Open(t.Context(), l.deployment().Files.S3)
	if err != nil {
		t.Fatal(err)
	}
	tagged := 0
	for name := range l.objects() {
		out, err := b.Client().GetObjectTagging(t.Context(), &sdk.GetObjectTaggingInput{Bucket: aws.String(vars["S3_BUCKET_NAME"]), Key: aws.String("pre/" + name)})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, tag := range out.TagSet {
			got[*tag.Key] = *tag.Value
		}
		if len(got) == 4 {
			tagged++
		}
		// Open WebUI drops what it does not take for a letter.
		want := map[string]string{"OpenWebUI-File-Id": id, "OpenWebUI-User-Id": user, "OpenWebUI-User-Email": "zoe+x@example.org", "OpenWebUI-User-Name": "Zo Müller Jr."}
		if strings.HasPrefix(name, id) && !maps.Equal(got, want) {
			t.Errorf("%s has the tags %v", name, got)
		}
	}
	if tagged != 30 {
		t.Errorf("%d of 30 objects have their tags", tagged)
	}
}

// From one bucket to another with the rows: a row whose object the source lacks
// keeps its path, and a source that is written to meanwhile is noticed.
func TestCutoverBetweenBuckets(t *testing.T) {
	t.Parallel()
	old := newLab(t, "", servers.Plain)
	for k, v := range s3Vars(t) {
		old.set(k, v)
	}
	have := inUploads(t, old.from)
	names := slices.Sorted(maps.Keys(have))
	lost := names[0]
	delete(have, lost)
	old.put(have)
	l := old.other(s3Vars(t))
	l.from = old.from
	l.set("VECTOR_DB", "")
	l.set("DATA_DIR", l.share)
	for _, k := range slices.Sorted(maps.Keys(old.vars)) {
		if strings.HasPrefix(k, "S3_") || k == "STORAGE_PROVIDER" {
			l.environ = append(l.environ, "OUTGROW_FROM_"+k+"="+old.vars[k])
		}
	}
	flags := []string{"--only", "rows,files"}
	l.plan(flags...).exits(0, "29 uploads", "so Open WebUI answers 404", "29 values will be changed to fit: path", "; cache/ copied to")
	l.migrate(flags...).exits(0, "33 files")
	if _, n := l.paths("s3://" + l.vars["S3_BUCKET_NAME"] + "/pre/"); n != 29 {
		t.Errorf("%d paths lead to the new bucket", n)
	}
	if got := l.objects(); !maps.Equal(got, have) {
		t.Errorf("%d objects, want %d", len(got), len(have))
	}
	l.equal(flags...)
	old.put(map[string]string{lost: "it came back"})
	l.migrate(flags...).exits(4, "the source was written to")
	l.verify(flags...).exits(4, "+ files/uploads uploads/"+lost)
	l.migrate(append(flags, "--replace")...).exits(0)
	l.equal(flags...)
	if _, n := l.paths("s3://" + l.vars["S3_BUCKET_NAME"] + "/pre/"); n != 30 {
		t.Errorf("%d paths lead to the new bucket", n)
	}
}

// A deployment in a container far away: neither side's DATA_DIR is reached, and
// that is said, but nothing is asked.
func TestCacheUnknown(t *testing.T) {
	t.Parallel()
	old := onPostgres(t, s3Vars(t))
	old.migrate("--only", "files").exits(0)
	old.set("DATA_DIR", "/app/is/elsewhere")
	l := old.other(s3Vars(t))
	l.plan("--only", "files").exits(0, "is not reached from here", "--from-mount and --to-mount")
	l.migrate("--only", "files").exits(0, "paths   30 rows switched")
	l.equal("--only", "files")
	l.plan("--only", "files", "--from-mount", filepath.Join(l.dir, "nowhere")).exits(2, "not a folder").nextStep()
	// What the next pair says of its files is told by the target alone, too.
	l.in("status", "--to", l.env).exits(0, "files   complete: 1 of 1 parts", "paths   of 30 rows were switched")
	l.in("replay", "--to", l.env).exits(0, "0 records put in")
}
