package sqlite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// Values come in the storage class they have, whatever the column is declared
// as, and texts come with every byte.
func TestValuesAsFound(t *testing.T) {
	path := makeDB(t,
		`CREATE TABLE odd (id TEXT PRIMARY KEY, d DATE, b BOOLEAN, j JSON, n BIGINT, t TEXT, x, rowid TEXT)`,
		`INSERT INTO odd VALUES ('1', '2020-01-01', 1, '60', 1700000000123456789, CAST(x'610062' AS TEXT), x'00ff', 'r')`,
		`INSERT INTO odd VALUES ('2', '2020-01-01 10:00:00', 'true', '0.5', 1.5, CAST(x'61ff62' AS TEXT), '', NULL)`,
		`INSERT INTO odd VALUES ('3', 20200101, 0, '{"a":1}', 'abc', CAST(x'eda0bd' AS TEXT), x'', 'r')`,
		`INSERT INTO odd VALUES ('4', NULL, 2, NULL, 1e19, char(0), -9223372036854775808, 'r')`)
	s := open(t, Config{Path: path})
	var got [][]any
	for _, r := range readAll(t, s, pipeline.Part{Unit: table("odd")}, "") {
		got = append(got, r.Values)
	}
	want := [][]any{
		{"1", "2020-01-01", int64(1), int64(60), int64(1700000000123456789), "a\x00b", []byte{0, 0xff}, "r"},
		{"2", "2020-01-01 10:00:00", "true", 0.5, 1.5, "a\xffb", "", nil},
		{"3", int64(20200101), int64(0), `{"a":1}`, "abc", "\xed\xa0\xbd", []byte{}, "r"},
		{"4", nil, int64(2), nil, 1e19, "\x00", int64(-9223372036854775808), "r"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
}

func TestReadInPartsAndBatches(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(servers.DataDir(t), "webui.db")
	s := open(t, Config{Path: path, Limits: pipeline.Limits{Records: 37, Bytes: 20000}})
	for _, name := range []string{"chat_message", "chat", "config", "user", "oauth_session"} {
		whole := readAll(t, s, pipeline.Part{Unit: table(name)}, "")
		for _, n := range []int{1, 2, 4, 7} {
			parts, err := s.Split(ctx, table(name), n)
			if err != nil || len(parts) == 0 || len(parts) > n {
				t.Fatalf("%s in %d parts: %v %v", name, n, parts, err)
			}
			var rows []*pipeline.Row
			var largest int
			for i, p := range parts {
				if p.N != i || (i == 0) != (p.From == "") || (i == len(parts)-1) != (p.To == "") {
					t.Errorf("part %+v", p)
				}
				part := readAll(t, s, p, "")
				largest = max(largest, sum(part))
				rows = append(rows, part...)
			}
			if !reflect.DeepEqual(whole, rows) {
				t.Errorf("%s: %d rows in %d parts, %d in all", name, len(rows), len(parts), len(whole))
			}
			if all := sum(whole); len(whole) > 1000 && largest > all/n*3/2 {
				t.Errorf("%s: the largest of %d parts has %d of %d bytes", name, n, largest, all)
			}
		}
		// Reading on from any cursor gives the same rest, batch by batch.
		n := 0
		for b, err := range s.Read(ctx, pipeline.Part{Unit: table(name)}, "") {
			if err != nil {
				t.Fatal(err)
			}
			if len(b.Records) > 37 || b.Bytes > 20000+int64(b.Records[len(b.Records)-1].Size()) || b.Bytes != int64(sum(b.Records)) {
				t.Errorf("%s: a batch of %d rows, %d bytes", name, len(b.Records), b.Bytes)
			}
			if n += b.Read; !reflect.DeepEqual(readAll(t, s, b.Part, b.Next), rest(whole, n)) {
				t.Fatalf("%s: reading on after %s", name, b.Next)
			}
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for _, err := range s.Read(cancelled, pipeline.Part{Unit: table("chat")}, "") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
	if _, err := s.Inspect(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for _, err := range s.Read(ctx, pipeline.Part{Unit: table("nothing")}, "") {
		if err == nil {
			t.Error("a table that is not there was read")
		}
	}
	for _, err := range s.Read(ctx, pipeline.Part{Unit: table("chat")}, "x") {
		if err == nil {
			t.Error("a cursor that is none was taken")
		}
	}
}

func sum(rows []*pipeline.Row) (n int) {
	for _, r := range rows {
		n += r.Size()
	}
	return n
}

func rest(rows []*pipeline.Row, n int) []*pipeline.Row {
	if n == len(rows) {
		return nil
	}
	return rows[n:]
}

// Several workers read tables and parts at once, and look rows up meanwhile.
func TestConcurrent(t *testing.T) {
	ctx := t.Context()
	s := open(t, Config{Path: filepath.Join(servers.DataDir(t), "webui.db"), Limits: pipeline.Limits{Records: 20}})
	parts, err := s.Split(ctx, table("chat_message"), 4)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"chat", "config", "file"} {
		parts = append(parts, pipeline.Part{Unit: table(name)})
	}
	var mu sync.Mutex
	got := map[string]int64{}
	var wg sync.WaitGroup
	for _, p := range parts {
		wg.Go(func() {
			for b, err := range s.Read(ctx, p, "") {
				if err != nil {
					t.Error(err)
					return
				}
				key := b.Records[0].Key()
				found, err := s.Get(ctx, p.Unit, []string{key})
				if err != nil || !reflect.DeepEqual(found[key], b.Records[0]) {
					t.Errorf("%s %s: %v %v", p.Unit.Name, key, found, err)
				}
				mu.Lock()
				got[p.Unit.Name] += int64(b.Read)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for name, n := range got {
		if want := count(t, s, name); n != want {
			t.Errorf("%s: %d rows of %d", name, n, want)
		}
	}
}

func TestGetAndKeys(t *testing.T) {
	ctx := t.Context()
	path := makeDB(t,
		`CREATE TABLE tag (id VARCHAR NOT NULL, user_id VARCHAR, name TEXT, PRIMARY KEY (id, user_id))`,
		`INSERT INTO tag VALUES ('a', 'u1', 'one'), ('a', 'u2', 'two'), ('b', NULL, 'three')`,
		`CREATE TABLE document (id INTEGER PRIMARY KEY, collection_name VARCHAR NOT NULL, name VARCHAR, left_over TEXT)`,
		`INSERT INTO document VALUES (1, 'c1', 'x', NULL), (2, 'c2', 'y', 'z')`,
		`CREATE TABLE mine (id TEXT PRIMARY KEY)`, `INSERT INTO mine VALUES ('m')`,
		`CREATE TABLE "_alembic_tmp_chat" (id TEXT)`,
		`CREATE TABLE norow (id TEXT PRIMARY KEY) WITHOUT ROWID`)
	s := open(t, Config{Path: path})
	keys := func(name string) (all []string) {
		for k, err := range s.Keys(ctx, table(name)) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, k)
		}
		return all
	}
	tags := []string{"a\x1fu1", "a\x1fu2", "b\x1f\x00"}
	if got := keys("tag"); !slices.Equal(got, tags) {
		t.Errorf("keys %q", got)
	}
	found, err := s.Get(ctx, table("tag"), append(tags, "a\x1fu3"))
	if err != nil || !slices.Equal(slices.Sorted(maps.Keys(found)), tags) || found["b\x1f\x00"].Values[2] != "three" {
		t.Errorf("%v %v", found, err)
	}
	if got := keys("document"); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("keys %q", got)
	}
	s.SetKeys(map[string][]string{"document": {"collection_name"}})
	s.SetColumns(map[string][]string{"document": {"collection_name", "name", "title"}})
	if got := keys("document"); !slices.Equal(got, []string{"c1", "c2"}) {
		t.Errorf("keys %q", got)
	}
	found, err = s.Get(ctx, table("document"), []string{"c2", "c3"})
	if err != nil || len(found) != 1 || !reflect.DeepEqual(found["c2"].Values, []any{"c2", "y"}) {
		t.Errorf("%v %v", found, err)
	}
	many := make([]string, 1200)
	for i := range many {
		many[i] = fmt.Sprint("u", i)
	}
	if found, err = s.Get(ctx, table("user"), many); err != nil || len(found) != 2 {
		t.Errorf("%v %v", found, err)
	}

	units, err := s.Units(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, u := range units {
		names = append(names, u.Name)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"document", "mine", "tag", "user"}) {
		t.Errorf("units %q", names)
	}
	findings, err := s.Check(ctx, []pipeline.Unit{table("tag"), table("document"), table("user")})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, f := range findings {
		said = append(said, fmt.Sprint(f.Severity, " ", f.Reason, " ", f.Unit, " ", f.Count))
	}
	want := []string{"note extra-table rows/_alembic_tmp_chat 0", "warn extra-column rows/document 1", "warn extra-table rows/mine 1", "warn extra-table rows/norow 0"}
	if !slices.Equal(said, want) {
		t.Errorf("findings %q", said)
	}
}

// Large tables first, so that workers end together; what waits for another
// lane last.
func TestUnitsOrder(t *testing.T) {
	s := open(t, Config{Path: filepath.Join(servers.DataDir(t), "webui.db"), SpecialAfter: map[string][]string{"file": {"files/uploads"}}})
	units, err := s.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if units[0].Name != "chat" || units[len(units)-1].Name != "file" || units[len(units)-1].After[0] != "files/uploads" {
		t.Errorf("%v", units)
	}
	for _, u := range units {
		rows := readAll(t, s, pipeline.Part{Unit: u}, "")
		if got := int64(sum(rows)); int64(len(rows)) != u.Records || u.Bytes > 2*got || 2*u.Bytes < got {
			t.Errorf("%s: %d rows, %d bytes; the unit says %d and %d", u.Name, len(rows), got, u.Records, u.Bytes)
		}
		if strings.HasPrefix(u.Name, "alembic") {
			t.Errorf("unit %s", u.Name)
		}
	}
}
