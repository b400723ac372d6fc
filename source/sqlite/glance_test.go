package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// told is all that a reader of a part is told.
func told(s *Source, part pipeline.Part, after pipeline.Cursor, same pipeline.Same) (lines []string, n int, err error) {
	for b, err := range s.Sift(context.Background(), part, after, 9, same) {
		if err != nil {
			return lines, n, err
		}
		n += b.Same
		line := fmt.Sprintf("%q to %q: %d, %d the same, %d bytes, %x", b.Prev, b.Next, b.Read, b.Same, b.Bytes, b.Origins)
		for _, r := range b.Records {
			line += fmt.Sprintf("\n%q", r.Values)
		}
		lines = append(lines, line)
	}
	return lines, n, nil
}

// both opens a database two times: the second reader is SQLite alone.
func both(t *testing.T, path string, limits pipeline.Limits) (s, plain *Source) {
	t.Helper()
	return open(t, Config{Path: path, Stopped: new(true), Limits: limits}), open(t, Config{Path: path, Stopped: new(true), Limits: limits, plain: true})
}

// sameness tells one row of some hundred from the others by its key and origin.
func sameness(seed uint64, hundredths uint64) pipeline.Same {
	return func(key string, origin pipeline.Sum) (bool, error) {
		h := seed
		for _, b := range append([]byte(key), origin[:]...) {
			h = (h ^ uint64(b)) * 1099511628211
		}
		return (h>>20)%100 < hundredths, nil
	}
}

// Looked at in the file itself, rows are what SQLite makes of them, whatever they
// hold and however the file is laid out; and whichever rows are the same, a reader
// is told what it would be told by SQLite alone.
func TestGlance(t *testing.T) {
	t.Parallel()
	for i, l := range layouts() {
		t.Run(l.String(), func(t *testing.T) {
			t.Parallel()
			seed := uint64(i)
			rng := rand.New(rand.NewPCG(seed, 1))
			s, plain := both(t, generated(t, seed, l), pipeline.Limits{Records: 40, Bytes: 200_000})
			if i%3 == 0 {
				columns := map[string][]string{"texts": {"e", "id", "f", "a"}, "late": {"id", "a"}, "pairs": {"b", "a"}}
				s.SetColumns(columns)
				plain.SetColumns(columns)
			}
			for name := range shapes() {
				looked := lookAll(t, s, plain, name)
				if name == "generated" {
					continue
				}
				if least := map[string]int{"empty": 0, "numbers": 15}[name]; looked < least || looked < 40 && least == 0 && name != "empty" {
					t.Errorf("%s: only %d rows are looked at in the file: the test shows too little", name, looked)
				}
			}
			for _, name := range slices.Sorted(maps.Keys(shapes())) { // so that rng gives each the same every time
				for _, hundredths := range []uint64{0, 5, 50, 92, 99, 100} {
					same := sameness(rng.Uint64(), hundredths)
					part, after := anyPart(rng, plain, name)
					want, _, err := told(plain, part, after, same)
					if err != nil {
						t.Fatal(err)
					}
					got, _, err := told(s, part, after, same)
					if err != nil || !slices.Equal(got, want) {
						t.Fatalf("%s from %q to %q after %q, with %d of 100 the same: %v\n%.400q\nwant\n%.400q", name, part.From, part.To, after, hundredths, err, got, want)
					}
				}
			}
		})
	}
}

// anyPart cuts a table at its rows and between them.
func anyPart(rng *rand.Rand, s *Source, name string) (part pipeline.Part, after pipeline.Cursor) {
	part.Unit = table(name)
	var rows []int64
	_ = s.each(context.Background(), "SELECT rowid FROM "+name+" ORDER BY 1", func(v []any) error { rows = append(rows, v[0].(int64)); return nil })
	cursor := func() pipeline.Cursor {
		if len(rows) == 0 || rng.IntN(3) == 0 {
			return ""
		}
		return pipeline.Cursor(strconv.FormatInt(rows[rng.IntN(len(rows))]+int64(rng.IntN(2)), 10))
	}
	part.From, part.To = cursor(), cursor()
	if part.From != "" && rng.IntN(2) == 0 {
		after = cursor()
	}
	return part, after
}

// lookAll looks at a whole table and tells how many of its rows could be.
func lookAll(t *testing.T, s, plain *Source, name string) (n int) {
	t.Helper()
	rd, err := s.reader(name)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int64]string{}
	st, free, err := plain.borrow(rd.sql)
	if err != nil {
		t.Fatal(err)
	}
	defer free()
	if err := st.bind([]any{int64(math.MinInt64), int64(math.MaxInt64)}); err != nil {
		t.Fatal(err)
	}
	f := &sifter{origins: pipeline.NewOrigins(9), same: func(key string, o pipeline.Sum) (bool, error) {
		want[st.integer(0)] = fmt.Sprintf("%q %x", key, o)
		return true, nil
	}}
	sizes := map[int64]int{}
	for {
		more, err := st.step()
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
		_, size, _, _ := f.look(st, rd.table)
		sizes[st.integer(0)] = size
	}
	g := s.glance(t.Context(), rd.table)
	if (g == nil) != (name == "generated") {
		t.Fatalf("%s: that it cannot be looked at is %v", name, g == nil)
	}
	if g == nil {
		return 0
	}
	defer g.close()
	if err := g.tree.seek(math.MinInt64); err != nil {
		t.Fatal(err)
	}
	rows := 0
	for {
		more, err := g.tree.next()
		if err != nil {
			t.Fatalf("%s, behind row %d: %v", name, g.tree.last, err)
		}
		if !more {
			break
		}
		rows++
		key, origin, size, ok, err := g.look(f.origins)
		if err != nil {
			t.Fatalf("%s, row %d: %v", name, g.tree.last, err)
		}
		if got := fmt.Sprintf("%q %x", key, origin); ok && (got != want[g.tree.last] || size != sizes[g.tree.last]) {
			t.Errorf("%s: row %d is %s, %d bytes, want %s, %d", name, g.tree.last, got, size, want[g.tree.last], sizes[g.tree.last])
		}
		if ok {
			n++
		}
	}
	if rows != len(want) {
		t.Errorf("%s: %d of %d rows", name, rows, len(want))
	}
	return n
}

// A real data folder is told as SQLite tells it, and is nearly all looked at in the
// file: as Open WebUI leaves it, with a -wal, and without.
func TestGlanceAtDataFolder(t *testing.T) {
	t.Parallel()
	for _, wal := range []bool{false, true} {
		t.Run(fmt.Sprintf("-wal %v", wal), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(servers.DataDir(t), "webui.db")
			if !wal {
				d := writable(t, path)
				d.must(t, "PRAGMA wal_checkpoint(TRUNCATE)")
				if err := d.close(); err != nil {
					t.Fatal(err)
				}
			}
			s, plain := both(t, path, pipeline.Limits{Records: 100})
			if frames := s.first.frames; (frames > 0) != wal {
				t.Fatalf("there are %d frames in the -wal", frames)
			}
			units, err := s.Units(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			looked, rows := 0, int64(0)
			for i, u := range units {
				looked, rows = looked+lookAll(t, s, plain, u.Name), rows+u.Records
				same := sameness(uint64(i), 97)
				want, _, err := told(plain, pipeline.Part{Unit: u}, "", same)
				if err != nil {
					t.Fatal(err)
				}
				if got, _, err := told(s, pipeline.Part{Unit: u}, "", same); err != nil || !slices.Equal(got, want) {
					t.Errorf("%s: %v %.300q, want %.300q", u.Name, err, got, want)
				}
			}
			if looked < int(rows)*9/10 {
				t.Errorf("%d of %d rows are looked at in the file", looked, rows)
			}
		})
	}
}

// tear gives a copy of a file with up to so many bytes changed, mostly where pages say
// how they are laid out. The first page stays.
func tear(rng *rand.Rand, sound []byte, page, most int) []byte {
	torn := bytes.Clone(sound)
	for range 1 + rng.IntN(most) {
		at := page * (1 + rng.IntN(len(torn)/page-1))
		if rng.IntN(3) == 0 {
			at += rng.IntN(page)
		} else {
			at += rng.IntN(40)
		}
		torn[at] = byte(rng.Uint32())
	}
	return torn
}

// Whatever the bytes of a file are, nothing panics, reading it ends, and a row that
// is called the same holds what it held.
func TestGlanceAtDamage(t *testing.T) {
	t.Parallel()
	for i, l := range layouts() {
		if l.page > 4096 || i%2 == 1 || l.wal != "" {
			continue
		}
		t.Run(l.String(), func(t *testing.T) {
			t.Parallel()
			seed := uint64(100 + i)
			path := generated(t, seed, l)
			sound, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			whole := map[string]bool{} // by key and origin
			_, plain := both(t, path, pipeline.Limits{})
			for name := range shapes() {
				_, _, err := told(plain, pipeline.Part{Unit: table(name)}, "", func(key string, origin pipeline.Sum) (bool, error) {
					whole[name+"/"+key+"/"+string(origin[:])] = true
					return true, nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := plain.Close(); err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(seed, 3))
			same, ended, failed := 0, 0, 0
			for range 10 {
				torn := tear(rng, sound, l.page, 60)
				if rng.IntN(4) == 0 {
					torn = torn[:l.page*(1+rng.IntN(len(torn)/l.page))]
				}
				path := filepath.Join(t.TempDir(), "webui.db")
				if err := os.WriteFile(path, torn, 0o600); err != nil {
					t.Fatal(err)
				}
				s, err := Open(t.Context(), Config{Path: path, Stopped: new(true)})
				if err != nil {
					continue
				}
				for name := range shapes() {
					_, n, err := told(s, pipeline.Part{Unit: table(name)}, "", func(key string, origin pipeline.Sum) (bool, error) {
						return whole[name+"/"+key+"/"+string(origin[:])], nil
					})
					same += n
					if err != nil {
						failed++
					} else {
						ended++
					}
				}
				if err := s.Close(); err != nil && !errors.Is(err, errClosed) {
					t.Error(err)
				}
			}
			if same == 0 || ended == 0 || failed == 0 {
				t.Errorf("%d rows were the same, %d tables came to their end and %d did not: the test shows too little", same, ended, failed)
			}
		})
	}
}

// Of a -wal exactly that is taken which SQLite takes, whatever its bytes are: an
// older page would hold rows that are the same and were changed since.
func TestGlanceAtTornWAL(t *testing.T) {
	t.Parallel()
	for i, l := range layouts() {
		if l.wal == "" {
			continue
		}
		t.Run(l.String(), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(i), 5))
			from := generated(t, 200+uint64(i), l)
			db, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			sound, err := os.ReadFile(from + "-wal")
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "webui.db")
			if err := os.WriteFile(path, db, 0o600); err != nil {
				t.Fatal(err)
			}
			counts := map[uint32]bool{}
			for round := range 8 {
				torn := bytes.Clone(sound)
				frames := (len(torn) - walHeader) / (frameHeader + l.page)
				frame := rng.IntN(frames)
				if round%2 == 0 {
					frame = frames - 1 - rng.IntN(min(frames, 40))
				}
				at := walHeader + frame*(frameHeader+l.page)
				switch round {
				case 0:
				case 1:
					torn = torn[:at+rng.IntN(l.page)]
				case 2:
					torn[rng.IntN(walHeader)] ^= 1
				case 3:
					torn[at+rng.IntN(frameHeader)] ^= 1
				default:
					torn[at+rng.IntN(l.page)] ^= byte(1 << rng.IntN(8))
				}
				if err := os.WriteFile(path+"-wal", torn, 0o600); err != nil {
					t.Fatal(err)
				}
				s, plain := both(t, path, pipeline.Limits{})
				if x, err := s.wal(); err == nil {
					counts[x.count] = true
				}
				for name := range shapes() {
					var got, want []string
					all := func(list *[]string) pipeline.Same {
						return func(key string, origin pipeline.Sum) (bool, error) {
							*list = append(*list, fmt.Sprintf("%q %x", key, origin))
							return true, nil
						}
					}
					_, _, wantErr := told(plain, pipeline.Part{Unit: table(name)}, "", all(&want))
					_, _, err := told(s, pipeline.Part{Unit: table(name)}, "", all(&got))
					if (err == nil) != (wantErr == nil) || !slices.Equal(got, want) {
						t.Fatalf("round %d, %s: %v\n%.300q\nwant %v\n%.300q", round, name, err, got, wantErr, want)
					}
				}
				if err := errors.Join(s.Close(), plain.Close()); err != nil {
					t.Fatal(err)
				}
			}
			if len(counts) == 0 {
				t.Error("no -wal was understood: the test shows too little")
			}
		})
	}
}
