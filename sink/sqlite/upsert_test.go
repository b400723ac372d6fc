package sqlite

import (
	"context"
	"slices"
	"testing"

	"outgrow/pipeline"
)

// family is a released database with groups, users and members.
func family(t *testing.T) (place, *Sink) {
	t.Helper()
	p := newPlace(t)
	s, _ := opened(t, p, nil)
	prepare(t, s, "user", "group", "group_member")
	write(t, s, batch("user", "", "1", users(0, 2)))
	write(t, s, batch("group", "", "1", rowsOf("group", groupColumns, []any{"g1", "one", nil}, []any{"g2", "two", "g1"})))
	write(t, s, batch("group_member", "", "1", rowsOf("group_member", memberColumns, []any{"m1", "g1", "u000000"}, []any{"m2", "g2", "u000001"})))
	finish(t, s)
	return p, s
}

func TestUpsertKeepsForeignKeys(t *testing.T) {
	t.Parallel()
	p, s := family(t)
	stray := rowsOf("group", groupColumns, []any{"g3", "three", "nowhere"}, []any{"g2", "zwei", "g1"})
	out, err := s.Upsert(t.Context(), unit("group"), stray, pipeline.Upsert{Replace: true})
	if err != nil || out.Written != 1 || len(out.Refused) != 1 || out.Refused[0].Reason != pipeline.Orphan || out.Refused[0].Key != "g3" || len(out.Changed) != 0 {
		t.Errorf("%+v, %v", out, err)
	}
	out, err = s.Upsert(t.Context(), unit("group"), stray, pipeline.Upsert{Replace: true, Final: true})
	if err != nil || out.Written != 2 || len(out.Refused) != 0 || len(out.Changed) != 1 || out.Changed[0].Reason != pipeline.ParentCleared || out.Changed[0].Key != "g3" {
		t.Errorf("%+v, %v", out, err)
	}
	out, err = s.Upsert(t.Context(), unit("group_member"), rowsOf("group_member", memberColumns, []any{"m3", "gone", "u000000"}, []any{"m4", "g1", "u000000"}, []any{"m5", "g3", "u000000"}),
		pipeline.Upsert{Final: true})
	if err != nil || out.Written != 1 || len(out.Refused) != 2 || out.Refused[0].Reason != pipeline.Orphan || out.Refused[1].Reason != pipeline.Duplicate {
		t.Errorf("%+v, %v", out, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := ask[string](t, whole(t, p), `SELECT group_concat(id || name || coalesce(parent_group_id, '-'), ' ') FROM (SELECT * FROM "group" ORDER BY id)`); got != "g1one- g2zweig1 g3three-" {
		t.Error(got)
	}
}

func TestRemoveTellsWhatGoesWithIt(t *testing.T) {
	t.Parallel()
	p, s := family(t)
	var members [][]any
	for i := range 450 {
		members = append(members, []any{"x" + string(rune('a'+i/26)) + string(rune('a'+i%26)), "g1", users(i+2, 1)[0].Values[0]})
	}
	if out, err := s.Upsert(t.Context(), unit("user"), users(2, 450), pipeline.Upsert{}); err != nil || out.Written != 450 {
		t.Fatalf("%+v, %v", out, err)
	}
	if out, err := s.Upsert(t.Context(), unit("group_member"), rowsOf("group_member", memberColumns, members...), pipeline.Upsert{}); err != nil || out.Written != 450 {
		t.Fatalf("%+v, %v", out, err)
	}
	out, err := removed(t.Context(), s, unit("group"), []string{"g1", "no such"})
	if err != nil || len(out.Refused) != 451 || len(out.Changed) != 1 || out.Changed[0].Key != "g2" {
		t.Errorf("%d refused, %+v, %v", len(out.Refused), out.Changed, err)
	}
	if again, err := removed(t.Context(), s, unit("group"), []string{"g1"}); err != nil || len(again.Refused)+len(again.Changed) > 0 {
		t.Errorf("%+v, %v", again, err)
	}
	if n, err := s.Count(t.Context(), unit("group_member")); err != nil || n != 1 {
		t.Errorf("%d members, %v", n, err)
	}
	levels, err := s.Levels(t.Context(), []pipeline.Unit{unit("group_member"), unit("user"), unit("group"), unit("config")})
	if err != nil || len(levels) != 2 || len(levels[0]) != 3 || levels[1][0].Name != "group_member" {
		t.Errorf("%+v, %v", levels, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole(t, p)
}

func TestKeysAndGet(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s, _ := opened(t, p, nil)
	prepare(t, s, "user", "tag", "config_old")
	write(t, s, batch("user", "", "1", users(0, 2500)))
	tags := rowsOf("tag", []string{"id", "name", "user_id"}, []any{"a", "n", "u1"}, []any{"a", "n", "u2"}, []any{"b\x1fu", "n", "u"})
	for _, r := range tags {
		r.Table.Key = []int{0, 2}
	}
	write(t, s, batch("tag", "", "1", tags))
	write(t, s, batch("config_old", "", "1", rowsOf("config_old", columnsOf["config_old"], []any{int64(7), "{}", int64(0), "2024-02-29 01:02:03", nil})))
	for name, want := range map[string]int{"user": 2500, "tag": 3, "config_old": 1} {
		var keys []string
		for k, err := range s.Keys(t.Context(), unit(name)) {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, k)
		}
		got, err := s.Get(t.Context(), unit(name), append([]string{"no such", "", "\x00"}, keys...))
		if err != nil || len(keys) != want || len(got) != want {
			t.Errorf("%s: %d keys, %d rows, %v", name, len(keys), len(got), err)
		}
		for _, k := range keys {
			if got[k] == nil || got[k].Key() != k {
				t.Errorf("%s: %q gives %+v", name, k, got[k])
			}
		}
		slices.Sort(keys)
		if len(slices.Compact(keys)) != want {
			t.Errorf("%s: keys come twice", name)
		}
	}
}

// removed removes rows, and gives what went with them.
func removed(ctx context.Context, s *Sink, u pipeline.Unit, keys []string) (out pipeline.Outcome, err error) {
	err = s.Remove(ctx, u, keys, func(o pipeline.Outcome) error { out = o; return nil })
	return out, err
}
