package sqlite

import (
	"database/sql"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"outgrow/pipeline"
	"outgrow/pipeline/digests"
	"outgrow/testdata/servers"
)

// grown is a database of about 100 MB: chats of 20 kB, and messages of 2.
func grown(b *testing.B) string {
	b.Helper()
	path := filepath.Join(servers.DataDir(b), "webui.db")
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	clone := func(table, set string, n int) {
		b.Helper()
		var columns string
		if err := db.QueryRow("SELECT group_concat('\"' || name || '\"') FROM pragma_table_info('" + table + "') WHERE name NOT IN ('id', 'share_id', '" + set + "')").Scan(&columns); err != nil {
			b.Fatal(err)
		}
		_, err := db.Exec(fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %[1]d), one AS (SELECT * FROM %[2]s LIMIT 1)
			INSERT INTO %[2]s (id, "%[3]s", %[4]s) SELECT printf('%%08x-%%04x-4000-8000-%%012x', i, %[5]d, i * 7919), '{"text": "' || hex(randomblob(%[5]d)) || '"}', %[4]s FROM n, one`,
			n, table, set, columns, 40_000_000/n/2))
		if err != nil {
			b.Fatal(err)
		}
	}
	clone("chat", "chat", 2000)
	clone("chat_message", "content", 20000)
	if _, err := db.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		b.Fatal(err)
	}
	return path
}

// BenchmarkScan is what a pass does that finds nothing new, step by step, by two
// readers: reading alone, with origins where the rows lie, and asking for them.
func BenchmarkScan(b *testing.B) {
	path := grown(b)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	s, err := Open(b.Context(), Config{Path: path})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	d, err := digests.Open(b.Context(), b.TempDir(), "run", "rules")
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	var parts []pipeline.Part
	for _, name := range []string{"chat", "chat_message"} {
		cut, err := s.Split(b.Context(), table(name), 4)
		if err != nil {
			b.Fatal(err)
		}
		parts = append(parts, cut...)
	}
	scan := func(b *testing.B, sift func() pipeline.Same, each func(pipeline.Part, pipeline.Batch[*pipeline.Row]) error) {
		b.Helper()
		var g errgroup.Group
		g.SetLimit(2)
		for _, p := range parts {
			g.Go(func() error {
				read := s.Read(b.Context(), p, "")
				if sift != nil {
					read = s.Sift(b.Context(), p, "", d.Seed(), sift())
				}
				for batch, err := range read {
					if err == nil && each != nil {
						err = each(p, batch)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	always := func(same bool) func() pipeline.Same {
		return func() pipeline.Same { return func(string, pipeline.Sum) (bool, error) { return same, nil } }
	}
	scan(b, always(false), func(p pipeline.Part, batch pipeline.Batch[*pipeline.Row]) error {
		keep := map[string]pipeline.Known{}
		for i, r := range batch.Records {
			keep[r.Key()] = pipeline.Known{Sum: batch.Origins[i], Origin: batch.Origins[i]}
		}
		return d.Keep(b.Context(), "rows/all", maps.All(keep))
	})
	var known atomic.Int64
	for _, c := range []struct {
		name string
		same func() pipeline.Same
	}{
		{"read", nil},
		{"look", always(true)},
		{"ask", func() pipeline.Same {
			unchanged := d.Unchanged(b.Context(), "rows/all")
			return func(key string, origin pipeline.Sum) (bool, error) {
				same, err := unchanged(key, origin)
				if same {
					known.Add(1)
				}
				return same, err
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(info.Size())
			b.ReportAllocs()
			for b.Loop() {
				scan(b, c.same, nil)
			}
		})
	}
	if known.Load() < 22000 {
		b.Errorf("%d rows were known", known.Load())
	}
}
