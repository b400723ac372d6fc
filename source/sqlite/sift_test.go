package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// sifted reads a whole lane, part by part, and gives the rows by unit and key.
func sifted(t *testing.T, s *Source, same func(unit, key string, origin pipeline.Sum) bool) (rows map[string]*pipeline.Row, origins map[string]pipeline.Sum, counts map[string][2]int) {
	t.Helper()
	rows, origins, counts = map[string]*pipeline.Row{}, map[string]pipeline.Sum{}, map[string][2]int{}
	units, err := s.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		parts, err := s.Split(t.Context(), u, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			at := p.From
			ask := func(key string, origin pipeline.Sum) (bool, error) { return same(u.Name, key, origin), nil }
			for b, err := range s.Sift(t.Context(), p, "", 9, ask) {
				if err != nil {
					t.Fatal(err)
				}
				if b.Prev != at && at != p.From || len(b.Origins) != len(b.Records) || b.Read != b.Same+len(b.Records) || b.Read == 0 {
					t.Errorf("%s: a batch from %q to %q after %q: %d read, %d the same, %d rows, %d origins", u.Name, b.Prev, b.Next, at, b.Read, b.Same, len(b.Records), len(b.Origins))
				}
				at = b.Next
				for i, r := range b.Records {
					rows[u.Name+"/"+r.Key()], origins[u.Name+"/"+r.Key()] = r, b.Origins[i]
				}
				c := counts[u.Name]
				counts[u.Name] = [2]int{c[0] + b.Read, c[1] + int(b.Bytes)}
			}
		}
	}
	return rows, origins, counts
}

// Rows are looked at in place as they are when they are read, whatever they hold,
// and those that are not the same are handed over whole.
func TestSift(t *testing.T) {
	path := filepath.Join(servers.DataDir(t), "webui.db")
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		"CREATE TABLE odd (id TEXT PRIMARY KEY, v)",
		"CREATE TABLE pair (a TEXT, b INTEGER, v, PRIMARY KEY (a, b))",
		"CREATE TABLE blobkey (id BLOB PRIMARY KEY, v)",
		"INSERT INTO odd VALUES ('', NULL), ('null', NULL), ('i', 1), ('r', 1.0), ('t', '1'), ('b', x'31'), ('e', ''), ('eb', x''), ('nul', 'a' || char(0) || 'b'), ('bad', CAST(x'ff' AS TEXT))",
		"INSERT INTO odd SELECT 'long' || length(hex(v)), v FROM (SELECT printf('%.*c', 600, 'x') v UNION ALL SELECT printf('%.*c', 20000, 'y') UNION ALL SELECT zeroblob(300000))",
		"INSERT INTO pair VALUES ('a', 1, 'x'), ('a', 2, 'x'), (NULL, 3, 'x'), ('a', NULL, 'x'), ('b', 'text', 'x')",
		"INSERT INTO blobkey VALUES (x'00ff', 1), ('text', 2), (3, 4), (1.5, 5)",
	} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Config{Path: path, Limits: pipeline.Limits{Records: 7}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all, origins, counts := sifted(t, s, func(string, string, pipeline.Sum) bool { return false })
	want := 0
	o := pipeline.NewOrigins(9)
	for _, u := range []string{"odd", "pair", "blobkey", "chat", "user", "file"} {
		for b, err := range s.Read(t.Context(), pipeline.Part{Unit: table(u)}, "") {
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range b.Records {
				want++
				key := u + "/" + r.Key()
				if got := all[key]; got == nil || !slices.EqualFunc(got.Values, r.Values, func(a, b any) bool {
					return fmt.Sprintf("%T %q", a, fmt.Sprint(a)) == fmt.Sprintf("%T %q", b, fmt.Sprint(b))
				}) {
					t.Errorf("%q is handed over as %v", key, got)
				}
				if o.Of(r) != origins[key] {
					t.Errorf("%q has another origin where it lies", key)
				}
			}
			c := counts[u]
			counts[u] = [2]int{c[0] - b.Read, c[1] - int(b.Bytes)}
		}
		if counts[u] != [2]int{} {
			t.Errorf("%s: %v rows and bytes too many are counted", u, counts[u])
		}
	}
	if want < 30 {
		t.Fatalf("%d rows: the test shows too little", want)
	}
	// All but a few are known.
	other := func(unit, key string) bool { return strings.HasSuffix(key, "2") || unit == "user" }
	some, _, _ := sifted(t, s, func(unit, key string, origin pipeline.Sum) bool {
		if origin != origins[unit+"/"+key] {
			t.Errorf("%s %q is asked for with another origin", unit, key)
		}
		return !other(unit, key)
	})
	for key := range all {
		unit, k, _ := strings.Cut(key, "/")
		if (some[key] != nil) != other(unit, k) {
			t.Errorf("that %q is handed over is %v", key, some[key] != nil)
		}
	}
	stop := errors.New("stop")
	for _, err := range s.Sift(t.Context(), pipeline.Part{Unit: table("odd")}, "", 9, func(string, pipeline.Sum) (bool, error) { return false, stop }) {
		if !errors.Is(err, stop) {
			t.Errorf("the error of what is asked is %v", err)
		}
	}
}

// Two readers of a database in no use read at the same time, also one with a
// -wal, and leave nothing behind; one in use has one connection.
func TestTwoReaders(t *testing.T) {
	for name, live := range map[string]bool{"stopped": false, "with a -wal": false, "live": true} {
		t.Run(name, func(t *testing.T) {
			dir := servers.DataDir(t)
			path := filepath.Join(dir, "webui.db")
			if name == "with a -wal" {
				a := startApp(t, path)
				a.do("UPDATE chat SET title = 'in the wal'")
				a.crash()
			}
			s, err := Open(t.Context(), Config{Path: path, Limits: pipeline.Limits{Records: 1}, Stopped: new(!live)})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			// The first batch of one reader is held until that of the other was read.
			var g errgroup.Group
			reader, err := s.reader("chat")
			if err != nil {
				t.Fatal(err)
			}
			read := func(inside func()) (titles []string, err error) {
				rd := *reader
				ask := func(string, pipeline.Sum) (bool, error) { inside(); inside = func() {}; return false, nil }
				rd.sift = &sifter{origins: pipeline.NewOrigins(1), same: ask}
				b, _, _, err := rd.batch(-1<<63, 1<<63-1)
				for _, r := range b.Records {
					titles = append(titles, fmt.Sprint(r.Values[slices.Index(r.Table.Columns, "title")]))
				}
				return titles, err
			}
			var other []string
			begun, ended := make(chan struct{}), make(chan struct{})
			g.Go(func() error {
				<-begun
				defer close(ended)
				var err error
				other, err = read(func() {})
				return err
			})
			mine, err := read(func() {
				close(begun)
				if !live {
					<-ended
				}
			})
			if err := errors.Join(err, g.Wait()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(mine, other) || len(mine) != 1 || name == "with a -wal" && mine[0] != "in the wal" {
				t.Errorf("one reads %q, the other %q", mine, other)
			}
			if both := s.second.conn.db != nil; both == live {
				t.Errorf("that there are two connections is %v", both)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if _, err := read(func() {}); !errors.Is(err, errClosed) {
				t.Errorf("after it was closed: %v", err)
			}
			if !live {
				if _, err := os.Stat(path + "-shm"); name == "stopped" && !errors.Is(err, os.ErrNotExist) {
					t.Errorf("a -shm was left behind (%v)", err)
				}
			}
		})
	}
}
