package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"outgrow/mappings/env"
	s3sink "outgrow/sink/s3"

	sinkobjects "outgrow/sink/objects"

	"outgrow/pipeline/pipetest"
)

// moreFiles adds uploads with their rows to a deployment on PostgreSQL: n of 20
// KiB, and one of so many MiB.
func (l *lab) moreFiles(n, mib int) {
	l.tb.Helper()
	big := make([]byte, mib<<20)
	random := rand.NewChaCha8(sha256.Sum256([]byte("files")))
	_, _ = random.Read(big)
	for i := range n {
		name := fmt.Sprintf("0c0ffee0-0000-4000-8000-%012d_%d.txt", i, i)
		if err := os.WriteFile(filepath.Join(l.share, "uploads", name), big[i%1000:i%1000+20<<10], 0o600); err != nil {
			l.tb.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(l.share, "uploads", fmt.Sprintf("0c0ffee0-0000-4000-8000-%012d_%d.txt", n, n)), big, 0o600); err != nil {
		l.tb.Fatal(err)
	}
	do(l.tb, l.dsn, fmt.Sprintf(`INSERT INTO file (id, user_id, filename, path, created_at, updated_at)
		SELECT '0c0ffee0-0000-4000-8000-' || lpad(i::text, 12, '0'), 'u', 'x', '%s/uploads/0c0ffee0-0000-4000-8000-' || lpad(i::text, 12, '0') || '_' || i || '.txt', 1, 1 FROM generate_series(0, %d) i`, l.share, n))
}

// unfinished counts the uploads in parts that nobody has completed.
func (l *lab) unfinished() int {
	l.tb.Helper()
	d := l.deployment()
	s, err := s3sink.Open(context.Background(), d.Files.S3, sinkobjects.Config{})
	if err != nil {
		l.tb.Fatal(err)
	}
	n, err := s.Unfinished(context.Background())
	if err != nil {
		l.tb.Fatal(err)
	}
	return n
}

// Whatever moment a switch to S3, or its way back, dies at: the rows lead all to
// the old place or all to the new one, and never to an object that is not there;
// the same command ends equal and leaves no upload unfinished.
func TestKillSwitch(t *testing.T) {
	n := max(4, pipetest.Kills(t)/2)
	l := onPostgres(t, nil)
	l.moreFiles(1500, 40)
	from := *l
	var vars map[string]string
	next := func() (target *lab, path string) {
		vars = s3Vars(t)
		return from.other(vars), "s3://" + vars["S3_BUCKET_NAME"] + "/pre/"
	}
	// l's own env file is the same deployment as before.
	program(t)
	target, _ := next()
	flags := []string{"--only", "files"}
	began := time.Now()
	target.wait(target.command(target.pair("migrate", flags...)...)).exits(0, "paths   1,531 rows switched")
	length := time.Since(began)
	target.revert().exits(0)
	at := newMoments(t, n, length, 3)
	stopped, reverts := 0, 0
	for i := 0; at.more(i, stopped >= n/2); i++ {
		target, path := next()
		whole := func(after string) {
			t.Helper()
			_, k := target.paths(path)
			switch have := len(target.objects()); {
			case k != 0 && k != 1531:
				t.Errorf("%s: %d of 1531 rows lead to the bucket", after, k)
			case k == 1531 && have != 1531:
				t.Errorf("%s: all rows lead to the bucket, which has %d objects", after, have)
			}
		}
		for range 1 + 2*(i%2) {
			r := at.stop(target, target.command(target.pair("migrate", flags...)...), syscall.SIGKILL, i)
			if r.code == -1 {
				stopped++
			} else if r.code != 0 {
				t.Fatalf("migration %d ended with %d by itself:\n%s", i, r.code, r.both())
			}
			whole(fmt.Sprintf("migration %d killed", i))
		}
		target.wait(target.command(target.pair("migrate", flags...)...)).exits(0, "paths ")
		target.equal(flags...).says("1,531 files compared, 1,531 equal", "1,531 paths")
		if k := target.unfinished(); k > 0 {
			t.Errorf("migration %d: %d uploads are unfinished", i, k)
		}
		r := target.signalled(target.command("files", "revert", "--to", target.env), syscall.SIGKILL, time.Duration(at.random.IntN(100))*time.Millisecond)
		if r.code == -1 {
			reverts++
		}
		whole(fmt.Sprintf("revert %d killed", i))
		target.revert().exits(0, "1,531 rows have their old file.path again")
		if _, k := target.paths(from.share + "/uploads/"); k != 1531 {
			t.Errorf("after reverting %d rows lead to the old folder", k)
		}
	}
	t.Logf("%d migrations and %d reverts were killed", stopped, reverts)
	if stopped < n/2 {
		t.Errorf("only %d of %d migrations were killed before their end", stopped, n)
	}
}

// The tags that Open WebUI stores with an object, from the rows.
func TestObjectTags(t *testing.T) {
	t.Parallel()
	known := map[string][3]string{"07ba6b74-7b1f-43f8-a71c-c7625fc97f34": {"u1", "zoe@example.org", "Zoë Müller, Jr."}}
	of := tagger(func(_ context.Context, id string) (user, email, name string, ok bool, err error) {
		v, ok := known[id]
		return v[0], v[1], v[2], ok, nil
	})
	got, err := of(t.Context(), "uploads/07ba6b74-7b1f-43f8-a71c-c7625fc97f34_a.txt")
	want := map[string]string{"OpenWebUI-File-Id": "07ba6b74-7b1f-43f8-a71c-c7625fc97f34", "OpenWebUI-User-Id": "u1", "OpenWebUI-User-Email": "zoe@example.org", "OpenWebUI-User-Name": "Zoë Müller, Jr."}
	if fmt.Sprint(got) != fmt.Sprint(want) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for _, name := range []string{"uploads/stray.txt", "uploads/17ba6b74-7b1f-43f8-a71c-c7625fc97f34_a.txt", "uploads/"} {
		if got, err := of(t.Context(), name); got != nil || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	o := &opener{session: &session{to: env.Deployment{Files: env.Files{Provider: env.S3}}, db: &relational{}}}
	if o.tags() != nil {
		t.Error("tags without S3_ENABLE_TAGGING")
	}
}
