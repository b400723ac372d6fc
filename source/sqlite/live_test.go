//go:build linux

package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"outgrow/pipeline"
	"outgrow/testdata/servers"

	"golang.org/x/sys/unix"
)

// openForWriting lists the descriptors of this process below a folder that
// can be written through.
func openForWriting(t *testing.T, dir string) (writable, all []string) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		servers.Skip(t, "no /proc: %v", err)
	}
	for _, fd := range fds {
		name, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err != nil || !strings.HasPrefix(name, dir) {
			continue
		}
		var n uintptr
		fmt.Sscan(fd.Name(), &n)
		flags, err := unix.FcntlInt(n, unix.F_GETFL, 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, filepath.Base(name))
		if flags&unix.O_ACCMODE != unix.O_RDONLY {
			writable = append(writable, filepath.Base(name))
		}
	}
	return writable, all
}

// While Open WebUI works on the database: one snapshot, no writer waits, and
// nothing is opened for writing.
func TestLive(t *testing.T) {
	dir := servers.DataDir(t)
	path := filepath.Join(dir, "webui.db")
	w := startApp(t, path)
	w.do("UPDATE memory SET content = content")
	s := open(t, Config{Path: path, Limits: pipeline.Limits{Records: 50}})
	if s.Mode() != Live {
		t.Fatalf("read as %s", s.Mode())
	}
	if writable, all := openForWriting(t, dir); len(writable) > 0 || len(all) != 3 {
		t.Errorf("open: %v, for writing: %v", all, writable)
	}
	messages := count(t, s, "chat_message")
	var slowest time.Duration
	var rows int64
	for b, err := range s.Read(t.Context(), pipeline.Part{Unit: table("chat_message")}, "") {
		if err != nil {
			t.Fatal(err)
		}
		rows += int64(b.Read)
		for _, sql := range []string{
			"DELETE FROM chat_message WHERE rowid = (SELECT max(rowid) FROM chat_message)",
			"UPDATE chat SET title = title || 'x' WHERE rowid < 20",
			"PRAGMA wal_checkpoint(PASSIVE)",
		} {
			slowest = max(slowest, w.do(sql))
		}
	}
	t.Logf("%d rows read, the slowest of %d writes took %v", rows, 3*(rows/50), slowest)
	if rows != messages || count(t, s, "chat_message") != messages {
		t.Errorf("%d rows of %d in the snapshot", rows, messages)
	}
	for _, r := range readAll(t, s, pipeline.Part{Unit: table("chat")}, "") {
		if strings.HasSuffix(fmt.Sprint(r.Values[2]), "xxxx") {
			t.Fatal("a title that was written after the snapshot was read")
		}
	}
	id, _ := s.Identity(t.Context())
	if now, err := s.StateNow(); err != nil || now == id.State {
		t.Errorf("the state did not change: %s %v", now, err)
	}
	// The application stops; the snapshot stays.
	w.stop()
	if n := count(t, s, "chat_message"); n != messages {
		t.Errorf("%d messages once the application has gone", n)
	}
	s.Close()
	again := open(t, Config{Path: path})
	if n := count(t, again, "chat_message"); again.Mode() != Stopped || n >= messages {
		t.Errorf("then read as %s with %d messages", again.Mode(), n)
	}
}

// A source that is said to be live although nobody seems to use it is read
// under SQLite's own locks.
func TestSaidToBeLive(t *testing.T) {
	no := false
	for _, remove := range []string{"", "-wal"} {
		path := filepath.Join(servers.DataDir(t), "webui.db")
		want := int64(13)
		if remove != "" {
			want = 12
			if err := os.Remove(path + remove); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, Config{Path: path, Stopped: &no})
		if n := count(t, s, "memory"); s.Mode() != Live || n != want {
			t.Errorf("%d memories, %s", n, s.Mode())
		}
		w := startApp(t, path)
		w.do("DELETE FROM memory")
		if n := count(t, s, "memory"); n != want {
			t.Errorf("%d memories after a write", n)
		}
		s.Close()
	}
}

// What tells a live source: the locks, even where the process is hidden.
func TestInUse(t *testing.T) {
	path := filepath.Join(servers.DataDir(t), "webui.db")
	if u := inUse(path); u.live() || u.shm || !u.certain {
		t.Errorf("at rest: %+v", u)
	}
	w := startApp(t, path)
	w.do("DELETE FROM memory")
	if u := inUse(path); !u.shmLocked || !u.held || !u.shm || !u.certain {
		t.Errorf("in use: %+v", u)
	}
	w.crash()
	if u := inUse(path); u.live() || !u.shm {
		t.Errorf("after a crash: %+v", u)
	}
	if !(usage{shm: true}).live() {
		t.Error("a -shm counts where locks cannot be seen")
	}
	rollback := makeDB(t)
	w = startApp(t, rollback)
	w.do("BEGIN IMMEDIATE")
	if u := inUse(rollback); !u.locked || !u.held {
		t.Errorf("in a transaction, not WAL: %+v", u)
	}
	if _, err := Open(t.Context(), Config{Path: rollback}); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("in use, not WAL: %v", err)
	}
}

// A read-only mount, as a container's volume or a snapshot often is.
func TestReadOnlyMount(t *testing.T) {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		servers.Skip(t, "a bind mount needs root on Linux")
	}
	for _, remove := range []string{"", "-wal"} {
		dir, mount := servers.DataDir(t), t.TempDir()
		if remove != "" {
			if err := os.Remove(filepath.Join(dir, "webui.db"+remove)); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Mount(dir, mount, "", unix.MS_BIND, ""); err != nil {
			servers.Skip(t, "no bind mount here: %v", err)
		}
		defer unix.Unmount(mount, unix.MNT_DETACH)
		if err := unix.Mount("", mount, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			servers.Skip(t, "no read-only bind mount here: %v", err)
		}
		before := folder(t, dir)
		s := open(t, Config{Path: filepath.Join(mount, "webui.db")})
		if readEverything(t, s) < 2900 || s.Mode() != Stopped {
			t.Error(s.Mode())
		}
		s.Close()
		unchanged(t, dir, before)
		// The application uses the folder itself; here only the mount is seen.
		w := startApp(t, filepath.Join(dir, "webui.db"))
		w.do("UPDATE memory SET content = 'new'")
		s = open(t, Config{Path: filepath.Join(mount, "webui.db")})
		for _, r := range readAll(t, s, pipeline.Part{Unit: table("memory")}, "") {
			if s.Mode() != Live || r.Values[2] != "new" {
				t.Errorf("%s: %v", s.Mode(), r.Values)
			}
		}
		s.Close()
		w.stop()
	}
}
