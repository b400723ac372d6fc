package postgres

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

var (
	groupColumns  = []string{"id", "name", "parent_group_id"}
	memberColumns = []string{"id", "group_id", "user_id"}
	chatColumns   = []string{"id", "user_id", "title", "chat", "meta"}
	lineColumns   = []string{"id", "chat_id", "role", "content"}
)

// loaded is a finished target with two users, a chat with messages and groups
// that refer to each other.
func loaded(t testing.TB) *Sink {
	t.Helper()
	s := opened(t, servers.PostgreSQL(t), nil)
	begin(t, s)
	prepare(t, s, "user", "chat", "chat_message", "group", "group_member")
	write(t, s, batch("user", "", "1", users(0, 2)))
	write(t, s, batch("chat", "", "1", rows("chat", chatColumns, []any{"c1", "u000000", "one", "{}", "{}"}, []any{"c2", "u000000", "two", "{}", "{}"})))
	write(t, s, batch("chat_message", "", "1", rows("chat_message", lineColumns, []any{"m1", "c1", "user", `"a"`}, []any{"m2", "c1", "user", `"b"`}, []any{"m3", "c2", "user", `"c"`})))
	write(t, s, batch("group", "", "1", rows("group", groupColumns, []any{"g1", "top", nil}, []any{"g2", "below", "g1"})))
	write(t, s, batch("group_member", "", "1", rows("group_member", memberColumns, []any{"gm1", "g1", "u000000"}, []any{"gm2", "g2", "u000001"})))
	finish(t, s)
	return s
}

func ids(t testing.TB, s *Sink, table string) string {
	t.Helper()
	var list []string
	r, err := s.pool.Query(context.Background(), "SELECT id::text FROM "+s.t(table)+" ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for r.Next() {
		var id string
		if err := r.Scan(&id); err != nil {
			t.Fatal(err)
		}
		list = append(list, id)
	}
	return strings.Join(list, " ")
}

// What refers to a removed row goes with it, whole, or is cleared, and nothing
// of that is left to the server, which would not tell.
func TestRemoveTells(t *testing.T) {
	t.Parallel()
	s, ctx := loaded(t), context.Background()
	out, err := removed(ctx, s, unit("chat"), []string{"c1"})
	if err != nil {
		t.Fatal(err)
	}
	var gone []string
	for _, r := range out.Refused {
		if r.Unit != "rows/chat_message" || r.Reason != pipeline.Orphan || r.Column != "chat_id" || !strings.Contains(string(r.Record), `"content":"\"`) {
			t.Errorf("with the chat went %+v (%s)", r, r.Record)
		}
		gone = append(gone, r.Key)
	}
	if slices.Sort(gone); !slices.Equal(gone, []string{"m1", "m2"}) || len(out.Changed) > 0 {
		t.Errorf("with the chat went %v, %v changed", gone, out.Changed)
	}
	if got := ids(t, s, "chat_message"); got != "m3" {
		t.Errorf("messages left: %s", got)
	}

	out, err = removed(ctx, s, unit("group"), []string{"g1"})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Refused) != 1 || out.Refused[0].Key != "gm1" || len(out.Changed) != 1 || out.Changed[0].Key != "g2" ||
		out.Changed[0].Column != "parent_group_id" || out.Changed[0].Before != pipeline.Digest("g1") || out.Changed[0].After != pipeline.Digest(nil) {
		t.Errorf("with the group: %+v", out)
	}
	if got := ids(t, s, "group") + "/" + ids(t, s, "group_member"); got != "g2/gm2" {
		t.Errorf("left: %s", got)
	}
}

// Rows that are removed together do not count as having gone with each other.
func TestRemoveOfBoth(t *testing.T) {
	t.Parallel()
	s, ctx := loaded(t), context.Background()
	if _, err := removed(ctx, s, unit("group_member"), []string{"gm1", "gm2"}); err != nil {
		t.Fatal(err)
	}
	out, err := removed(ctx, s, unit("group"), []string{"g1", "g2", "no such group", "a\x00b"})
	if err != nil || len(out.Refused)+len(out.Changed) > 0 || ids(t, s, "group") != "" {
		t.Errorf("removing two groups: %+v, %v; left %q", out, err, ids(t, s, "group"))
	}
}

// A reference to nothing refuses the row, until nothing more will come: then a
// key that may be NULL is.
func TestUpsertClearsOnlyAtTheEnd(t *testing.T) {
	t.Parallel()
	s, ctx := loaded(t), context.Background()
	child := rows("group", groupColumns, []any{"g3", "third", "nobody"}, []any{"g4", "fourth", nil})
	out, err := s.Upsert(ctx, unit("group"), child, pipeline.Upsert{})
	if err != nil || out.Written != 1 || len(out.Refused) != 1 || out.Refused[0].Reason != pipeline.Orphan || out.Refused[0].Key != "g3" {
		t.Fatalf("before the end: %+v, %v", out, err)
	}
	out, err = s.Upsert(ctx, unit("group"), child[:1], pipeline.Upsert{Final: true})
	if err != nil || out.Written != 1 || len(out.Refused) > 0 || len(out.Changed) != 1 || out.Changed[0].Reason != pipeline.ParentCleared || out.Changed[0].Key != "g3" {
		t.Fatalf("at the end: %+v, %v", out, err)
	}
	member := rows("group_member", memberColumns, []any{"gm9", "nobody", "u000000"})
	out, err = s.Upsert(ctx, unit("group_member"), member, pipeline.Upsert{Final: true})
	if err != nil || out.Written != 0 || len(out.Refused) != 1 || out.Refused[0].Reason != pipeline.Orphan {
		t.Fatalf("a key that may not be NULL: %+v, %v", out, err)
	}
}

// largeText is JSON that compresses little.
func largeText() string {
	var b strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&b, "%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
	}
	return `{"text": "` + b.String() + `"}`
}

// besideOf is how many bytes of a table lie beside it, as large values do.
func besideOf(t testing.TB, s *Sink, table string) (bytes int64) {
	t.Helper()
	if err := s.pool.QueryRow(context.Background(), "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE oid = $1::regclass", s.t(table)).Scan(&bytes); err != nil {
		t.Fatal(err)
	}
	return bytes
}

// However many sets of columns differ, every row has its own, and large values that
// are the same stay where they lie.
func TestUpsertOfManyKinds(t *testing.T) {
	t.Parallel()
	s, ctx := loaded(t), context.Background()
	large := largeText()
	for _, n := range []int{kinds, 2 * kinds} {
		list, differs := make([][]any, n), map[string][]int{}
		for i := range list {
			list[i] = []any{fmt.Sprintf("many-%d", i), "u000000", "old", large, "{}"}
		}
		if out, err := s.Upsert(ctx, unit("chat"), rows("chat", chatColumns, list...), pipeline.Upsert{}); err != nil || out.Written != n {
			t.Fatalf("%+v, %v", out, err)
		}
		before := besideOf(t, s, "chat")
		sets := [][]int{{2}, {4}, {2, 4}, {1}, {1, 2}, {1, 4}, {1, 2, 4}, {2, 3}}
		for i := range list {
			list[i] = slices.Clone(list[i])
			for _, k := range sets[i] {
				list[i][k] = map[int]any{1: "u000001", 2: fmt.Sprint("new ", i), 3: "{}", 4: fmt.Sprintf(`{"i":%d}`, i)}[k]
			}
			differs[fmt.Sprintf("many-%d", i)] = sets[i]
		}
		if out, err := s.Upsert(ctx, unit("chat"), rows("chat", chatColumns, list...), pipeline.Upsert{Replace: true, Differs: differs}); err != nil || out.Written != n {
			t.Fatalf("%+v, %v", out, err)
		}
		for _, want := range list {
			var user, title, chat, meta string
			if err := s.pool.QueryRow(ctx, "SELECT user_id, title, chat::text, meta::text FROM "+s.t("chat")+" WHERE id = $1", want[0]).Scan(&user, &title, &chat, &meta); err != nil {
				t.Fatal(err)
			}
			if got := []any{user, title, chat, meta}; !slices.Equal(got, want[1:]) {
				t.Errorf("of %d kinds %s is %.200v", n, want[0], got)
			}
		}
		if grown := besideOf(t, s, "chat") - before; grown != 0 {
			t.Errorf("of %d kinds: what lies beside the table has grown by %d bytes", n, grown)
		}
	}
}

// A large value that is as it was stays where it lies; one that has changed, by
// however little, is written, and so is NULL.
func TestUpsertLeavesLargeValues(t *testing.T) {
	t.Parallel()
	s, ctx := loaded(t), context.Background()
	large := largeText()
	beside := func() int64 { return besideOf(t, s, "chat") }
	for i, c := range []struct {
		title      string
		chat, meta any
		grows      bool
	}{{"first", large, "{}", true}, {"second", large, "{}", false}, {"third", large, large, true}, {"fourth", nil, large, false},
		{"fifth", strings.Replace(large, "text", "Text", 1), large, true}, {"sixth", "{}", "{}", false}} {
		before := beside()
		out, err := s.Upsert(ctx, unit("chat"), rows("chat", chatColumns, []any{"c1", "u000000", c.title, c.chat, c.meta}), pipeline.Upsert{Replace: i > 0})
		if err != nil || out.Written != 1 {
			t.Fatalf("%s: %d written, %v", c.title, out.Written, err)
		}
		var title string
		var chat, meta any
		if err := s.pool.QueryRow(ctx, "SELECT title, chat::text, meta::text FROM "+s.t("chat")+" WHERE id = 'c1'").Scan(&title, &chat, &meta); err != nil {
			t.Fatal(err)
		}
		if title != c.title || chat != c.chat || meta != c.meta {
			t.Errorf("%s: it is not there as it was given", c.title)
		}
		if grown := beside() - before; grown < 0 || grown > 0 != c.grows {
			t.Errorf("%s: what lies beside the table has grown by %d bytes", c.title, grown)
		}
	}
}

// Of rows that are there only what differs is written; others, and those that were
// there and have gone, are written whole.
func TestUpsertWritesWhatDiffers(t *testing.T) {
	t.Parallel()
	s, ctx := loaded(t), context.Background()
	const title, chat = 2, 3
	for i, c := range []struct {
		differs map[string][]int
		rows    [][]any
		want    string // id, title and chat of every chat
	}{
		{nil, [][]any{{"c1", "u000000", "whole", `{"a":1}`, "{}"}}, `c1 whole {"a":1}, c2 two {}`},
		{map[string][]int{"c1": {title}, "c2": {title, chat}}, [][]any{{"c1", "u000000", "its title", `{"b":1}`, "{}"}, {"c2", "u000000", "both", `{"b":2}`, "{}"}},
			`c1 its title {"a":1}, c2 both {"b":2}`},
		{map[string][]int{"c1": {title}}, [][]any{{"c1", "u000000", nil, `{"c":1}`, "{}"}, {"c2", "u000000", "not told of", `{"c":2}`, "{}"}},
			`c1 - {"a":1}, c2 not told of {"c":2}`},
		{map[string][]int{"c1": {0, title}}, [][]any{{"c1", "u000000", "a key", `{"d":1}`, "{}"}}, `c1 a key {"d":1}, c2 not told of {"c":2}`},
		{map[string][]int{"c2": {title}, "c3": {title}}, [][]any{{"c2", "u000000", "beside one", `{"e":2}`, "{}"}, {"c3", "u000000", "gone", `{"e":3}`, "{}"}},
			`c1 a key {"d":1}, c2 beside one {"e":2}, c3 gone {"e":3}`},
	} {
		out, err := s.Upsert(ctx, unit("chat"), rows("chat", chatColumns, c.rows...), pipeline.Upsert{Replace: true, Differs: c.differs})
		if err != nil || out.Written != len(c.rows) || len(out.Refused) > 0 {
			t.Fatalf("%d: %+v, %v", i, out, err)
		}
		var got string
		if err := s.pool.QueryRow(ctx, "SELECT string_agg(concat_ws(' ', id, coalesce(title, '-'), chat), ', ' ORDER BY id) FROM "+s.t("chat")).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != c.want {
			t.Errorf("%d: %s, want %s", i, got, c.want)
		}
	}
	// What is refused of it is refused alone.
	out, err := s.Upsert(ctx, unit("group"), rows("group", groupColumns, []any{"g1", "still top", "nobody"}, []any{"g2", "still below", "g1"}),
		pipeline.Upsert{Replace: true, Differs: map[string][]int{"g1": {1, 2}, "g2": {1}}})
	if err != nil || out.Written != 1 || len(out.Refused) != 1 || out.Refused[0].Key != "g1" || out.Refused[0].Reason != pipeline.Orphan {
		t.Fatalf("%+v, %v", out, err)
	}
	var names string
	if err := s.pool.QueryRow(ctx, "SELECT string_agg(name, ', ' ORDER BY id) FROM "+s.t("group")).Scan(&names); err != nil || names != "top, still below" {
		t.Errorf("%s, %v", names, err)
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	s := loaded(t)
	var units []pipeline.Unit
	for name := range s.tables {
		units = append(units, unit(name))
	}
	levels, err := s.Levels(context.Background(), units)
	if err != nil {
		t.Fatal(err)
	}
	at, n := map[string]int{}, 0
	for i, l := range levels {
		for _, u := range l {
			at[u.Name] = i
			n++
		}
	}
	keys, err := s.foreignKeys(context.Background(), sorted(s.tables))
	if err != nil {
		t.Fatal(err)
	}
	if n != len(units) || len(keys) != 19 {
		t.Errorf("%d units of %d, %d foreign keys", n, len(units), len(keys))
	}
	for _, k := range keys {
		if k.Table != k.RefTable && at[k.Table] <= at[k.RefTable] {
			t.Errorf("%s comes no later than %s: %s", k.Table, k.RefTable, fmt.Sprint(levels))
		}
	}
}

// removed removes rows, and gives what went with them.
func removed(ctx context.Context, s *Sink, u pipeline.Unit, keys []string) (out pipeline.Outcome, err error) {
	err = s.Remove(ctx, u, keys, func(o pipeline.Outcome) error { out = o; return nil })
	return out, err
}
