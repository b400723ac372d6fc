package main

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outgrow/testdata/servers"
)

// smallDisk is a database all of whose tables lie on a disk of the given size,
// and a function that makes the disk larger.
func smallDisk(t *testing.T, size string) (dsn string, grow func(size string)) {
	t.Helper()
	dir := t.TempDir()
	mount := filepath.Join(dir, "disk")
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "none", mount).CombinedOutput(); err != nil {
		servers.Skip(t, "a small disk needs the right to mount: %v: %s", err, out)
	}
	space := "small_" + strings.ToLower(filepath.Base(filepath.Dir(dir))) + size
	super := ""
	t.Cleanup(func() {
		if super != "" {
			do(t, super, `DROP TABLESPACE IF EXISTS "`+space+`"`)
		}
		if out, err := exec.Command("umount", mount).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	dsn = servers.PostgreSQL(t)
	super = servers.SuperDSN(t, dsn)
	store := filepath.Join(mount, "space")
	if err := os.Mkdir(store, 0o700); err != nil {
		t.Fatal(err)
	}
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(store, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	super = with(t, super, func(u *url.URL) { u.Path = "/postgres" })
	c := conn(t, super)
	if _, err := c.Exec(t.Context(), `CREATE TABLESPACE "`+space+`" LOCATION '`+store+`'`); err != nil {
		super = ""
		servers.Skip(t, "the server cannot use the small disk: %v", err)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	// Sessions that have just ended may take a moment to be gone.
	for range 50 {
		if _, err = c.Exec(t.Context(), `ALTER DATABASE "`+strings.TrimPrefix(u.Path, "/")+`" SET TABLESPACE "`+space+`"`); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dsn, func(size string) {
		t.Helper()
		if out, err := exec.Command("mount", "-o", "remount,size="+size, mount).CombinedOutput(); err != nil {
			t.Fatalf("remount: %v: %s", err, out)
		}
	}
}

// A disk that fills up under the target, while rows go in and while indexes are
// built: exit 3, and with more room the same command ends equal.
func TestTargetDiskFull(t *testing.T) {
	t.Parallel()
	data := bigData(t, "50MB")
	for size, little := range map[string]string{"20m": "21m", "41m": "42m"} {
		t.Run(size, func(t *testing.T) {
			dsn, grow := smallDisk(t, size)
			l := labOn(t, data, dsn)
			before := tree(t, data)
			r := l.migrate()
			if r.code == 0 {
				t.Fatalf("%s was enough", size)
			}
			// With nothing left at all, the server may have no room for a new session's own files
			// ("could not write init file", SQLSTATE XX000).
			grow(little)
			at := l.phase()
			r.exits(3, "SQLSTATE 53100", "safe    the source is untouched", "not     Do not start the new one", "fix     free").nextStep()
			if l.released() {
				t.Error("alembic_version is there")
			}
			l.in("status", "--to", l.env).exits(0)
			again := l.migrate().exits(3) // nothing gets better by itself, and nothing worse
			if strings.Contains(again.err, "cannot be asked") {
				t.Errorf("it is not said what is missing:\n%s", again.err)
			}
			grow("400m")
			l.migrate().exits(0, "nothing is done twice")
			l.equal()
			l.sameCounts(l.sourceCounts(), 674)
			unchanged(t, data, before)
			t.Logf("full while %s", at)
		})
	}
}

// The disk of the shared folder fills up.
func TestFolderDiskFull(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=200k", "none", l.share).CombinedOutput(); err != nil {
		servers.Skip(t, "a small disk needs the right to mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", l.share).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	r := l.migrate()
	if r.code != 2 && r.code != 3 {
		t.Fatalf("exit %d:\n%s", r.code, r.both())
	}
	r.nextStep()
	if l.released() {
		t.Error("alembic_version is there")
	}
	if out, err := exec.Command("mount", "-o", "remount,size=200m", l.share).CombinedOutput(); err != nil {
		t.Fatalf("remount: %v: %s", err, out)
	}
	l.migrate().exits(0)
	l.equal()
}
