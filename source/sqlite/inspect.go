package sqlite

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"golang.org/x/sync/errgroup"

	"outgrow/mappings/inspect"
	"outgrow/pipeline"
)

// Inspection is what plan tells about the database.
type Inspection struct {
	inspect.Facts
	Mode  Mode
	Size  int64 // bytes of webui.db
	WAL   int64 // bytes of its -wal
	Wrote time.Time
}

// Inspect reads what plan needs to know: columns of some tables, without the
// long values. A migration begins with it, so it must stay far cheaper than
// reading every row.
func (s *Source) Inspect(ctx context.Context) (Inspection, error) {
	in := Inspection{
		Mode: s.mode, Size: s.first.size, WAL: s.first.walSize,
		Wrote: time.Unix(0, max(s.first.mtime, s.first.walMtime)),
		Facts: inspect.Facts{Newest: map[string]time.Time{}, Unprocessed: map[string]int64{}, Secrets: map[string]int64{}},
	}
	var err error
	if in.Head, err = s.head(ctx); err != nil {
		return in, err
	}
	// Two at a time, as there may be two connections; each has its own of the facts.
	g, ctx := errgroup.WithContext(ctx)
	for _, steps := range [][]func(context.Context, *Inspection) error{{s.times, s.statuses, s.external}, {s.orphans, s.secrets}} {
		g.Go(func() error {
			for _, step := range steps {
				if err := step(ctx, &in); err != nil {
					return &pipeline.Error{Op: "inspecting", Unit: s.path, Err: openError(s.path, err)}
				}
			}
			return nil
		})
	}
	err = g.Wait()
	return in, err
}

func (s *Source) times(ctx context.Context, in *Inspection) error {
	for _, n := range inspect.Clocks() {
		t := s.table(n.Table)
		if t == nil || !t.has(n.Column) {
			continue
		}
		// Text sorts after every number, so it must not take part; with an
		// index on the column only its end is looked at.
		stamp, err := s.number(ctx, fmt.Sprintf(`SELECT ifnull((SELECT %[1]s FROM %[2]s WHERE %[1]s <= %[3]d AND typeof(%[1]s) = 'integer' ORDER BY %[1]s DESC LIMIT 1), 0)`,
			ident(n.Column), ident(n.Table), int64(math.MaxInt64)))
		if err != nil {
			return err
		}
		if stamp > 0 {
			in.Newest[n.Table] = inspect.Moment(stamp)
		}
	}
	return nil
}

// jsonText reads a string out of a JSON column, NULL where it is not JSON.
func jsonText(column, path string) string {
	return fmt.Sprintf("CASE WHEN json_valid(%s) THEN json_extract(%[1]s, %s) END", ident(column), literal(path))
}

func (s *Source) statuses(ctx context.Context, in *Inspection) error {
	if t := s.table("file"); t != nil && t.has("data") {
		var err error
		if in.Unprocessed, err = s.unprocessed(ctx, "TRUE"); err != nil {
			return err
		}
	}
	if t := s.table("chat_message"); t != nil && t.has("done") {
		n, sure := s.zeros(ctx, t.Name, "done")
		if !sure {
			var err error
			if n, err = s.number(ctx, `SELECT count(*) FROM "chat_message" WHERE done = 0`); err != nil {
				return err
			}
		}
		in.Unfinished = n
	}
	return nil
}

// unprocessed counts, by status, the files that meet the condition and are not
// processed.
func (s *Source) unprocessed(ctx context.Context, condition string) (map[string]int64, error) {
	out := map[string]int64{}
	// Most files hold a long text: parse only those that can match.
	sql := "SELECT status, count(*) FROM (SELECT " + jsonText("data", "$.status") + ` AS status FROM "file"
		WHERE ` + condition + ` AND (instr(data, 'pending') OR instr(data, 'processing'))) WHERE status IN ('pending', 'processing') GROUP BY 1`
	return out, s.each(ctx, sql, func(v []any) error {
		out[asText(v[0])], _ = v[1].(int64)
		return nil
	})
}

func (s *Source) orphans(ctx context.Context, in *Inspection) error {
	tables, err := s.Tables(ctx)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if s.allHaveParents(ctx, t.Name) {
			continue
		}
		sql := `SELECT parent, count(DISTINCT rowid) FROM pragma_foreign_key_check(` + literal(t.Name) + `) GROUP BY 1 ORDER BY 1`
		err := s.each(ctx, sql, func(v []any) error {
			n, _ := v[1].(int64)
			in.Orphans = append(in.Orphans, inspect.Orphans{Table: t.Name, Parent: asText(v[0]), Rows: n})
			return nil
		})
		if err == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		// A parent without the key it is named by, in old or hand-made tables.
		in.Notes = append(in.Notes, fmt.Sprintf("foreign keys of table %s could not be checked: %v", t.Name, err))
	}
	return nil
}

// allHaveParents looks for one row without a parent, in half the time that
// SQLite's own check takes. False means only that it is not sure.
func (s *Source) allHaveParents(ctx context.Context, table string) bool {
	type key struct{ parent, from, to string }
	var keys []key
	sure := true
	err := s.each(ctx, `SELECT "table", "from", "to", seq FROM pragma_foreign_key_list(`+literal(table)+`)`, func(v []any) error {
		if seq, ok := v[3].(int64); !ok || seq > 0 || v[2] == nil {
			sure = false // of several columns, or of the parent's primary key unnamed
		}
		keys = append(keys, key{asText(v[0]), asText(v[1]), asText(v[2])})
		return nil
	})
	large := len(keys) > 0 && s.large(ctx, table)
	for _, k := range keys {
		if err != nil || !sure {
			return false
		}
		if large {
			if all, ok := s.merged(ctx, table, k.from, k.parent, k.to); ok {
				sure = all
				continue
			}
		}
		var n int64
		// Each parent is looked for once, however many children it has.
		n, err = s.number(ctx, fmt.Sprintf(`SELECT EXISTS (SELECT 1 FROM (SELECT DISTINCT %[1]s AS name FROM %[2]s WHERE %[1]s IS NOT NULL) AS child
			WHERE NOT EXISTS (SELECT 1 FROM %[3]s AS parent WHERE parent.%[4]s = child.name))`, ident(k.from), ident(table), ident(k.parent), ident(k.to)))
		sure = n == 0
	}
	return err == nil && sure
}

// large reports whether a table may have so many rows that to look into the file
// itself is worth the questions before that.
func (s *Source) large(ctx context.Context, table string) bool {
	const rows = 1000
	t := s.table(table)
	if t == nil || t.rowid == "" {
		return false
	}
	n, err := s.number(ctx, "SELECT ifnull(max("+t.rowid+"), 0) FROM "+ident(table))
	return err == nil && n >= rows
}

func (s *Source) secrets(ctx context.Context, in *Inspection) error {
	count := func(name, table, column, where string) error {
		t := s.table(table)
		if t == nil || !t.has(column) {
			return nil
		}
		n, err := s.number(ctx, "SELECT count(*) FROM "+ident(table)+" WHERE "+where)
		if n > 0 {
			in.Secrets[name] = n
		}
		return err
	}
	connections := `SELECT count(*) FROM config, json_each(CASE WHEN json_valid(config.value) AND json_type(config.value) = 'array' THEN config.value ELSE '[]' END) AS c
		WHERE config.key = 'tool_server.connections' AND c.type = 'object' AND json_extract(c.value, '$.info.oauth_client_info') IS NOT NULL`
	if t := s.table("config"); t != nil && t.has("key") && t.has("value") {
		n, err := s.number(ctx, connections)
		if err != nil {
			return err
		}
		if n > 0 {
			in.Secrets["tool_server"] = n
		}
	}
	for _, c := range [][4]string{
		{"oauth_session", "oauth_session", "token", "token <> ''"},
		{"mfa", "auth", "mfa", "mfa IS NOT NULL AND CAST(mfa AS TEXT) NOT IN ('null', '{}', '')"},
		{"app", "app", "api_key", "api_key <> ''"},
	} {
		if err := count(c[0], c[1], c[2], c[3]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Source) external(ctx context.Context, in *Inspection) error {
	t := s.table("knowledge")
	if t == nil || !t.has("meta") {
		return nil
	}
	return s.each(ctx, `SELECT id FROM knowledge WHERE `+jsonText("meta", "$.source")+` = 'external' ORDER BY id`, func(v []any) error {
		in.External = append(in.External, asText(v[0]))
		return nil
	})
}

// IDs lists the column id of a table in the order of its rows; NULL ids are
// left out, and a table that is not there has none.
func (s *Source) IDs(ctx context.Context, table string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if s.table(table) == nil {
			return
		}
		t, err := s.readable(table)
		if err != nil {
			yield("", err)
			return
		}
		for v, err := range s.scan(ctx, t, "+id", "id IS NOT NULL") {
			if err != nil {
				yield("", err)
				return
			}
			if !yield(asText(v[0]), nil) {
				return
			}
		}
	}
}
