package sqlite

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	"outgrow/pipeline/pipetest"
)

// columnsOf fixes the columns of what is written and read back.
var columnsOf = map[string][]string{
	"user":       userColumns,
	"chat":       {"id", "user_id", "title", "chat", "created_at", "archived", "meta"},
	"config_old": {"id", "data", "version", "created_at", "updated_at"},
}

func content() []pipetest.Expected[*pipeline.Row] {
	var chats [][]any
	for i := range 19 {
		chats = append(chats, []any{fmt.Sprintf("c%d", i), "u000000", strings.Repeat("título\t\\", i), fmt.Sprintf(`{ "n": %d.0, "n": "\\u00e9\n" }`, i), int64(1)<<60 + int64(i), int64(i % 2), "{}"})
	}
	chats = append(chats, []any{"\xff", nil, "", nil, nil, nil, "null"}, []any{"", "u000001", "a\x00b", int64(60), -0.5, true, []byte("[]")},
		[]any{"hostile", nil, []byte{}, "{'", "word", "word", math.Inf(-1)})
	return []pipetest.Expected[*pipeline.Row]{
		{Unit: unit("user"), Records: users(0, 7)},
		{Unit: unit("chat"), Records: rowsOf("chat", columnsOf["chat"], chats...)},
		{Unit: unit("config_old"), Records: rowsOf("config_old", columnsOf["config_old"],
			[]any{int64(1), "{}", int64(0), "2024-02-29 01:02:03.040500", "2024-02-29 01:02:03"}, []any{int64(2), "{}", int64(-5), "2024-02-29 00:00:00", nil})},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	at := func(target string) place {
		return place{filepath.Join(target, "data"), filepath.Join(target, "state")}
	}
	pipetest.TestSink(t, pipetest.SinkCase[*pipeline.Row]{
		Target: func(t testing.TB) string {
			dir := t.TempDir()
			if err := os.Mkdir(at(dir).data, 0o755); err != nil {
				t.Fatal(err)
			}
			return dir
		},
		Open: func(t testing.TB, target string) (pipeline.Sink[*pipeline.Row], pipeline.Journal) {
			j, err := localstate.Open(t.Context(), at(target).state, pipeline.Rows)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), Config{Path: at(target).db(), Head: head, Journal: j})
			if err != nil {
				t.Fatal(err)
			}
			return s, j
		},
		Records: func(testing.TB) []pipetest.Expected[*pipeline.Row] { return content() },
		Bad: func(testing.TB) []pipetest.Expected[*pipeline.Row] {
			twice := users(0, 1)
			twice[0].Values[0] = "z: same e-mail"
			return []pipetest.Expected[*pipeline.Row]{{Unit: unit("user"), Records: twice},
				{Unit: unit("chat"), Records: rowsOf("chat", columnsOf["chat"], []any{"no meta", nil, nil, nil, nil, nil, nil}, []any{nil, nil, nil, nil, nil, nil, "{}"})},
				{Unit: unit("config_old"), Records: rowsOf("config_old", columnsOf["config_old"], []any{"word", "{}", int64(0), "2024-02-29 01:02:03", nil})}}
		},
		Change: func(r *pipeline.Row) *pipeline.Row {
			c := &pipeline.Row{Table: r.Table, Values: slices.Clone(r.Values)}
			for i, name := range r.Table.Columns {
				switch name {
				case "name", "title":
					c.Values[i] = "changed 'é'"
				case "chat", "data":
					c.Values[i] = `{"changed": 1.50}`
				}
			}
			return c
		},
		ReadBack: func(t testing.TB, target string) pipeline.Source[*pipeline.Row] {
			return opensReader(t, at(target), columnsOf)
		},
		Equal: sameRow,
		Seeds: 6,
	})
}
