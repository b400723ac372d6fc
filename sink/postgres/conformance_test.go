package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/postgres"
	"outgrow/testdata/servers"
)

// columnsOf fixes the columns of what is written and read back.
var columnsOf = map[string][]string{
	"user":       {"id", "name", "email", "role", "profile_image_url", "last_active_at", "updated_at", "created_at", "date_of_birth"},
	"chat":       {"id", "user_id", "title", "chat", "created_at", "archived", "meta"},
	"config_old": {"id", "data", "version", "created_at", "updated_at"},
}

func content() []pipetest.Expected[*pipeline.Row] {
	var chats [][]any
	for i := range 19 {
		chats = append(chats, []any{fmt.Sprintf("c%d", i), "u000000", strings.Repeat("título\t\\", i), fmt.Sprintf(`{ "n": %d.0, "n": "\\u00e9\n" }`, i), int64(1)<<60 + int64(i), i%2 == 0, "{}"})
	}
	chats = append(chats, []any{"\\.", nil, "", nil, nil, nil, "null"}, []any{"", "u000001", "\\N", "1", int64(-1), false, "[]"})
	return []pipetest.Expected[*pipeline.Row]{
		{Unit: unit("user"), Records: users(0, 7)},
		{Unit: unit("chat"), Records: rows("chat", columnsOf["chat"], chats...)},
		{Unit: unit("config_old"), Records: rows("config_old", columnsOf["config_old"],
			[]any{int64(1), "{}", int64(0), "2024-02-29 01:02:03.040500", "2024-02-29 01:02:03"}, []any{int64(2), "{}", int64(-5), "2024-02-29 00:00:00", nil})},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]func(testing.TB) string{
		"created": func(t testing.TB) string { return servers.PostgreSQL(t) },
		"adopted": func(t testing.TB) string {
			dsn := servers.PostgreSQL(t)
			made(t, connect(t, dsn), "public")
			return dsn
		},
	} {
		if testing.Short() && name == "adopted" {
			continue // one of the two kinds of target is enough
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pipetest.TestSink(t, pipetest.SinkCase[*pipeline.Row]{
				Target: target,
				Open: func(t testing.TB, dsn string) (pipeline.Sink[*pipeline.Row], pipeline.Journal) {
					s, err := Open(context.Background(), Config{URL: env.Secret(dsn), Head: head})
					if err != nil {
						t.Fatal(err)
					}
					return s, s.Journal()
				},
				Records: func(testing.TB) []pipetest.Expected[*pipeline.Row] { return content() },
				Bad: func(testing.TB) []pipetest.Expected[*pipeline.Row] {
					twice := users(0, 1)
					twice[0].Values[0] = "z: same e-mail"
					return []pipetest.Expected[*pipeline.Row]{{Unit: unit("user"), Records: twice},
						{Unit: unit("chat"), Records: rows("chat", columnsOf["chat"],
							[]any{"not JSON", nil, nil, "{'", nil, nil, "{}"}, []any{"NUL", nil, "a\x00b", "{}", nil, nil, "{}"},
							[]any{"no meta", nil, nil, nil, nil, nil, nil}, []any{"word", nil, nil, nil, "word", nil, "{}"})},
						{Unit: unit("config_old"), Records: rows("config_old", columnsOf["config_old"],
							[]any{int64(1 << 40), "{}", int64(0), "2024-02-29 01:02:03", nil}, []any{int64(9), "{}", int64(0), "2024-02-30 01:02:03", nil})}}
				},
				Change: func(r *pipeline.Row) *pipeline.Row {
					c := &pipeline.Row{Table: r.Table, Values: slices.Clone(r.Values)}
					for i, name := range r.Table.Columns {
						switch name {
						case "name", "title":
							c.Values[i] = "changed 'é'"
						case "chat", "data":
							c.Values[i] = `{"changed": 1.50}`
						case "updated_at":
							if r.Table.Name == "user" {
								c.Values[i] = int64(77)
							}
						}
					}
					return c
				},
				ReadBack: func(t testing.TB, dsn string) pipeline.Source[*pipeline.Row] {
					return opensReader(t, dsn, pipeline.Limits{})
				},
				Seeds: 6,
			})
		})
	}
}

func opensReader(t testing.TB, dsn string, l pipeline.Limits) pipeline.Source[*pipeline.Row] {
	s, err := reader.Open(context.Background(), reader.Config{URL: env.Secret(dsn), Columns: columnsOf, Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestReaderConformance(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	s := opened(t, dsn, nil)
	begin(t, s)
	want := content()
	for i, e := range want {
		prepare(t, s, e.Unit.Name)
		write(t, s, batch(e.Unit.Name, "", "1", e.Records))
		want[i].Unit.Records = int64(len(e.Records))
	}
	for name := range s.tables {
		if columnsOf[name] == nil {
			want = append(want, pipetest.Expected[*pipeline.Row]{Unit: unit(name)})
		}
	}
	pipetest.TestSource(t, pipetest.SourceCase[*pipeline.Row]{
		Open: func(t testing.TB, l pipeline.Limits) pipeline.Source[*pipeline.Row] { return opensReader(t, dsn, l) },
		Want: func(testing.TB) []pipetest.Expected[*pipeline.Row] { return want },
	})
}
