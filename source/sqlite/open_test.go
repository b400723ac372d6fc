package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outgrow/mappings/fstype"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// readEverything reads all tables and what plan asks for.
func readEverything(t *testing.T, s *Source) (rows int) {
	t.Helper()
	ctx := t.Context()
	units, err := s.Units(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		got := readAll(t, s, pipeline.Part{Unit: u}, "")
		if int64(len(got)) != u.Records {
			t.Errorf("table %s: %d of %d rows", u.Name, len(got), u.Records)
		}
		rows += len(got)
		if _, err := s.Split(ctx, u, 4); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Inspect(ctx); err != nil {
		t.Error(err)
	}
	if _, err := s.Check(ctx, units); err != nil {
		t.Error(err)
	}
	return rows
}

// A stopped source is the same afterwards, to the byte and the nanosecond,
// whatever lies beside the database.
func TestStoppedStaysTheSame(t *testing.T) {
	for name, c := range map[string]struct {
		prepare  func(t *testing.T, dir string)
		memories int64
	}{
		"with its -wal": {func(*testing.T, string) {}, 13},
		"with a -shm that a crash left": {func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "webui.db-shm"), make([]byte, 32768), 0o644); err != nil {
				t.Fatal(err)
			}
		}, 13},
		"with an empty -wal": {func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, "webui.db-wal"), 0); err != nil {
				t.Fatal(err)
			}
		}, 12},
		"without a -wal": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "webui.db-wal")); err != nil {
				t.Fatal(err)
			}
		}, 12},
		"with a -wal cut off in its last frame": {func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, "webui.db-wal"), 20000); err != nil {
				t.Fatal(err)
			}
		}, 12},
		"after kill -9": {func(t *testing.T, dir string) {
			a := startApp(t, filepath.Join(dir, "webui.db"))
			a.do("INSERT INTO memory (id, user_id, content, type) SELECT 'x', user_id, 'x', type FROM memory LIMIT 1")
			a.crash()
		}, 14},
	} {
		t.Run(name, func(t *testing.T) {
			dir := servers.DataDir(t)
			c.prepare(t, dir)
			before := folder(t, dir)
			s := open(t, Config{Path: filepath.Join(dir, "webui.db")})
			if s.Mode() != Stopped {
				t.Fatalf("read as %s", s.Mode())
			}
			if n := count(t, s, "memory"); n != c.memories {
				t.Errorf("%d memories, want %d", n, c.memories)
			}
			if n := readEverything(t, s); n < 2900 {
				t.Errorf("%d rows", n)
			}
			now, err := s.StateNow()
			if id, _ := s.Identity(t.Context()); err != nil || now != id.State {
				t.Errorf("state %s now, %s at the start", now, id.State)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			unchanged(t, dir, before)
		})
	}
}

func TestLegacy(t *testing.T) {
	path := servers.LegacyDB(t)
	before := folder(t, filepath.Dir(path))
	s := open(t, Config{Path: path})
	if head, err := s.Head(t.Context()); head != "0bd252b206fb" || err != nil {
		t.Error(head, err)
	}
	// Declared DATETIME, but epochs: the declared type must not matter.
	for _, r := range readAll(t, s, pipeline.Part{Unit: table("chat")}, "") {
		for i, c := range r.Table.Columns {
			if _, ok := r.Values[i].(int64); c == "created_at" && !ok {
				t.Errorf("chat.created_at is %#v", r.Values[i])
			}
		}
	}
	readEverything(t, s)
	s.Close()
	unchanged(t, filepath.Dir(path), before)
}

func TestAppStartedMeanwhile(t *testing.T) {
	path := filepath.Join(servers.DataDir(t), "webui.db")
	s := open(t, Config{Path: path, Limits: pipeline.Limits{Records: 10}})
	var failed error
	n := 0
	for b, err := range s.Read(t.Context(), pipeline.Part{Unit: table("chat_message")}, "") {
		if failed = err; err != nil {
			break
		}
		if n += b.Read; n == 50 {
			startApp(t, path).do("UPDATE memory SET content = content || '.'")
		}
	}
	if !errors.Is(failed, ErrStarted) || pipeline.ExitCode(failed) != pipeline.ExitEnvironment || n != 50 {
		t.Errorf("%d rows, then %v", n, failed)
	}
	if _, err := s.Inspect(t.Context()); !errors.Is(err, ErrStarted) {
		t.Errorf("Inspect: %v", err)
	}
	s.Close()
	if s := open(t, Config{Path: path}); s.Mode() != Live || count(t, s, "memory") != 13 {
		t.Errorf("the second time it is read as %s", s.Mode())
	}
}

func TestRefused(t *testing.T) {
	write := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	wal := makeDB(t, "PRAGMA journal_mode = WAL")
	hot := makeDB(t)
	if err := os.WriteFile(hot+"-journal", []byte("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7rest"), 0o644); err != nil {
		t.Fatal(err)
	}
	zeroed := makeDB(t)
	if err := os.WriteFile(zeroed+"-journal", make([]byte, 512), 0o644); err != nil {
		t.Fatal(err)
	}
	plain := makeDB(t)
	yes, no := true, false
	nfs := func(string) (fstype.Type, error) { return fstype.Type{Magic: fstype.NFS}, nil }
	busy := func(string) usage { return usage{shm: true, held: true, certain: true} }
	for _, c := range []struct {
		name string
		cfg  Config
		exit int
		says string
	}{
		{"missing", Config{Path: filepath.Join(t.TempDir(), "webui.db")}, pipeline.ExitUsage, "no such file"},
		{"a folder", Config{Path: t.TempDir()}, pipeline.ExitUsage, "not a file"},
		{"empty", Config{Path: write("webui.db", "")}, pipeline.ExitUsage, "too short"},
		{"encrypted", Config{Path: write("webui.db", strings.Repeat("\x8f\x01\xfe", 3000))}, pipeline.ExitUsage, "encrypted"},
		{"another application's", Config{Path: makeDB(t, `DROP TABLE "user"`)}, pipeline.ExitUsage, "not Open WebUI's"},
		{"no head", Config{Path: makeDB(t, "DELETE FROM alembic_version")}, pipeline.ExitUsage, "0 rows"},
		{"two heads", Config{Path: makeDB(t, "INSERT INTO alembic_version VALUES ('other')")}, pipeline.ExitUsage, "2 rows"},
		{"hot journal", Config{Path: hot}, pipeline.ExitUsage, "rollback journal"},
		{"in use, not WAL", Config{Path: plain, usage: busy}, pipeline.ExitUsage, "not in WAL mode"},
		{"in use on NFS", Config{Path: wal, usage: busy, FileSystem: nfs}, pipeline.ExitEnvironment, "network file system (NFS)"},
		{"-shm on NFS", Config{Path: wal, usage: func(string) usage { return usage{shm: true, certain: true} }, FileSystem: nfs}, pipeline.ExitEnvironment, "NFS"},
		{"said to be live on NFS", Config{Path: wal, Stopped: &no, FileSystem: nfs}, pipeline.ExitEnvironment, "NFS"},
		{"zeroed journal", Config{Path: zeroed}, pipeline.ExitOK, ""},
		{"stopped on NFS", Config{Path: wal, FileSystem: nfs}, pipeline.ExitOK, ""},
		{"said to be stopped on NFS", Config{Path: wal, usage: busy, Stopped: &yes, FileSystem: nfs}, pipeline.ExitOK, ""},
	} {
		s, err := Open(t.Context(), c.cfg)
		if err == nil {
			found, _ := s.Check(t.Context(), nil)
			if warned := len(found) > 0 && found[0].Reason == fstype.Network; warned != (c.cfg.FileSystem != nil) {
				t.Errorf("%s: findings %v", c.name, found)
			}
			s.Close()
		}
		if pipeline.ExitCode(err) != c.exit {
			t.Errorf("%s: exit %d: %v", c.name, pipeline.ExitCode(err), err)
		}
		if err != nil && (!strings.Contains(err.Error(), c.says) || pipeline.HintOf(err) == "") {
			t.Errorf("%s: %v; %s", c.name, err, pipeline.HintOf(err))
		}
	}
}

// Where locks may not reach the writer, its traces in the files end the reading.
func TestWrittenOverTheNetwork(t *testing.T) {
	for _, journal := range []string{"WAL", "DELETE"} {
		for _, on := range []fstype.Type{{Magic: fstype.NFS}, {Magic: fstype.Ext4}} {
			path := makeDB(t, "PRAGMA journal_mode = "+journal)
			s := open(t, Config{Path: path, FileSystem: func(string) (fstype.Type, error) { return on, nil }})
			before, err := s.StateNow()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Inspect(t.Context()); err != nil {
				t.Errorf("%s on %s: %v", journal, on, err)
			}
			// As another machine would, in spite of any lock.
			if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			_, err = s.Inspect(t.Context())
			if want := on.Network() || s.Mode() == Stopped; errors.Is(err, ErrStarted) != want {
				t.Errorf("%s on %s, written to: %v", journal, on, err)
			}
			if now, err := s.StateNow(); err != nil || now == before {
				t.Errorf("%s on %s: the state is %s, %v", journal, on, now, err)
			}
		}
	}
}

func TestIdentityFollowsWrites(t *testing.T) {
	path := filepath.Join(servers.DataDir(t), "webui.db")
	state := func() pipeline.Identity {
		s := open(t, Config{Path: path})
		defer s.Close()
		id, err := s.Identity(t.Context())
		if err != nil || id.Stable == "" || id.State == "" || strings.Contains(id.Stable+id.State, path) {
			t.Fatalf("%+v %v", id, err)
		}
		return id
	}
	a := state()
	if b := state(); a != b {
		t.Errorf("%+v, then %+v without a write", a, b)
	}
	w := startApp(t, path)
	seen := map[string]bool{a.State: true}
	for _, sql := range []string{"UPDATE memory SET content = 'a'", "UPDATE memory SET content = 'b'", "PRAGMA wal_checkpoint(TRUNCATE)", "UPDATE memory SET content = 'c'",
		"PRAGMA wal_checkpoint(RESTART)", "UPDATE memory SET content = 'd'", "UPDATE memory SET content = 'e'"} {
		time.Sleep(30 * time.Millisecond) // the file system's clock is coarse
		w.do(sql)
		id := state()
		if seen[id.State] && !strings.Contains(sql, "RESTART") || id.Stable != a.Stable {
			t.Errorf("after %s: %+v", sql, id)
		}
		seen[id.State] = true
	}
}
