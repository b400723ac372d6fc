package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"outgrow/mappings/inspect"
	"outgrow/mappings/pg"
	"outgrow/mappings/schema"
)

// Inspection is what plan tells about the database.
type Inspection struct {
	inspect.Facts
	Version  int    // server_version_num
	Schema   string // that Open WebUI's tables are in
	Size     int64  // bytes of the database on disk
	Sessions int    // of other programs on the database
}

// Inspect reads what plan needs to know. A migration begins with it, so it must
// stay far cheaper than reading every row. JSON is never taken apart by the
// server: it fails for a whole document with one broken escape.
func (s *Source) Inspect(ctx context.Context) (Inspection, error) {
	in := Inspection{Schema: s.schema, Facts: inspect.Facts{Newest: map[string]time.Time{}, Unprocessed: map[string]int64{}, Secrets: map[string]int64{}}}
	err := s.view(ctx, func(q pg.Querier) (err error) {
		if err := q.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, pg_database_size(current_database()), "+pg.OtherSessions).Scan(&in.Version, &in.Size, &in.Sessions); err != nil {
			return err
		}
		if s.has(version) {
			if in.Head, err = s.head(ctx, q); err != nil {
				return err
			}
		}
		for _, step := range []func(context.Context, pg.Querier, *Inspection) error{s.times, s.statuses, s.orphans, s.secrets, s.external} {
			if err := step(ctx, q, &in); err != nil {
				return err
			}
		}
		return nil
	})
	return in, pg.Classify("inspecting the source database", err)
}

func (s *Source) times(ctx context.Context, q pg.Querier, in *Inspection) error {
	for _, c := range inspect.Clocks() {
		if !s.has(c.Table, c.Column) {
			continue
		}
		if column, _ := s.tables[c.Table].Column(c.Column); column.Type != schema.Bigint && column.Type != schema.Integer {
			continue
		}
		var stamp int64
		if err := q.QueryRow(ctx, "SELECT coalesce(max("+pg.Ident(c.Column)+"), 0) FROM "+s.t(c.Table)).Scan(&stamp); err != nil {
			return err
		}
		if stamp > 0 {
			in.Newest[c.Table] = inspect.Moment(stamp)
		}
	}
	return nil
}

// pendingIndex is the index that Open WebUI 0.12 has on the files which are not
// processed; while it is there, the server has taken every file.data apart.
const pendingIndex = "file_pending_knowledge_idx"

func (s *Source) statuses(ctx context.Context, q pg.Querier, in *Inspection) (err error) {
	in.Unprocessed, in.Unfinished, err = s.unfinished(ctx, q, 0)
	return err
}

// Waiting counts what Open WebUI is still working on: files by status (pending,
// processing) and chat messages that are not done, all changed since the given
// time. Older ones were left behind and will not be finished.
func (s *Source) Waiting(ctx context.Context, since time.Time) (files map[string]int64, messages int64, err error) {
	err = s.view(ctx, func(q pg.Querier) (err error) {
		files, messages, err = s.unfinished(ctx, q, since.Unix())
		return err
	})
	return files, messages, pg.Classify("looking for what is under way", err)
}

// unfinished counts files by status and messages that are not done. With since
// only those of which it is known that they were changed at that time or later.
func (s *Source) unfinished(ctx context.Context, q pg.Querier, since int64) (files map[string]int64, messages int64, err error) {
	files = map[string]int64{}
	clause := func(table string) (string, bool) {
		if since == 0 {
			return "", true
		}
		return fmt.Sprintf(" AND updated_at >= %d", since), s.has(table, "updated_at")
	}
	if recent, known := clause("file"); known && s.has("file", "data") {
		var indexed bool
		if err := q.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass($1) AND indisvalid)", s.t(pendingIndex)).Scan(&indexed); err != nil {
			return nil, 0, err
		}
		// Most files hold a long text: fetch only those that can match.
		sql := `SELECT data::text FROM ` + s.t("file") + ` WHERE data::text ~ '"status"\s*:\s*"(pending|processing)"'`
		if indexed {
			sql = `SELECT data::text FROM ` + s.t("file") + ` WHERE data->>'status' IN ('pending', 'processing')`
		}
		rows, err := q.Query(ctx, sql+recent)
		if err != nil {
			return nil, 0, err
		}
		defer rows.Close()
		for rows.Next() {
			var data struct{ Status any }
			if json.Unmarshal(rows.RawValues()[0], &data) != nil {
				continue
			}
			if is, ok := data.Status.(string); ok && (is == "pending" || is == "processing") {
				files[is]++
			}
		}
		if err := rows.Err(); err != nil {
			return nil, 0, err
		}
	}
	if recent, known := clause("chat_message"); known && s.has("chat_message", "done") {
		err = q.QueryRow(ctx, "SELECT count(*) FROM "+s.t("chat_message")+" WHERE NOT done::text::boolean"+recent).Scan(&messages)
	}
	return files, messages, err
}

// orphans looks behind foreign keys that Open WebUI's schema has and this
// database has not, or has without their having been checked.
func (s *Source) orphans(ctx context.Context, q pg.Querier, in *Inspection) error {
	known, err := schema.Load(in.Head)
	if err != nil {
		return nil // of an unknown head, which plan tells of
	}
	for _, t := range known.Tables {
		for _, k := range t.ForeignKeys {
			if !s.has(k.Table, k.Columns...) || !s.has(k.RefTable, k.RefColumns...) || len(k.Columns) != 1 {
				continue
			}
			var kept bool
			if err := q.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
				WHERE c.contype = 'f' AND c.convalidated AND cardinality(c.conkey) = 1 AND c.conrelid = $1::text::regclass AND c.confrelid = $2::text::regclass AND a.attname = $3)`,
				s.t(k.Table), s.t(k.RefTable), k.Columns[0]).Scan(&kept); err != nil {
				return err
			}
			if kept {
				continue
			}
			n := int64(0)
			if err := q.QueryRow(ctx, fmt.Sprintf("SELECT count(*) FROM %[1]s c WHERE c.%[2]s IS NOT NULL AND NOT EXISTS (SELECT FROM %[3]s p WHERE p.%[4]s = c.%[2]s)",
				s.t(k.Table), pg.Ident(k.Columns[0]), s.t(k.RefTable), pg.Ident(k.RefColumns[0]))).Scan(&n); err != nil {
				return err
			}
			if n > 0 {
				in.Orphans = append(in.Orphans, inspect.Orphans{Table: k.Table, Parent: k.RefTable, Rows: n})
			}
		}
	}
	return nil
}

func (s *Source) secrets(ctx context.Context, q pg.Querier, in *Inspection) error {
	clients, err := s.clients(ctx, q)
	if err != nil {
		return err
	}
	if len(clients) > 0 {
		in.Secrets["tool_server"] = int64(len(clients))
	}
	for _, c := range [][4]string{
		{"oauth_session", "oauth_session", "token", "token <> ''"},
		{"mfa", "auth", "mfa", "mfa IS NOT NULL AND mfa::text NOT IN ('null', '{}', '')"},
		{"app", "app", "api_key", "api_key <> ''"},
	} {
		if !s.has(c[1], c[2]) {
			continue
		}
		var n int64
		if err := q.QueryRow(ctx, "SELECT count(*) FROM "+s.t(c[1])+" WHERE "+c[3]).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			in.Secrets[c[0]] = n
		}
	}
	return nil
}

func (s *Source) external(ctx context.Context, q pg.Querier, in *Inspection) error {
	if !s.has("knowledge", "id", "meta") {
		return nil
	}
	rows, err := q.Query(ctx, "SELECT id::text, meta::text FROM "+s.t("knowledge")+` WHERE meta::text LIKE '%"source"%' ORDER BY id::text COLLATE "C"`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, meta string
		if err := rows.Scan(&id, &meta); err != nil {
			return err
		}
		if isExternal(meta) {
			in.External = append(in.External, id)
		}
	}
	return rows.Err()
}

// isExternal tells from knowledge.meta that the documents are elsewhere.
func isExternal(meta string) bool {
	var m struct{ Source any }
	return json.Unmarshal([]byte(meta), &m) == nil && m.Source == "external"
}

// clients gives what tool_server.connections holds of OAuth client data.
func (s *Source) clients(ctx context.Context, q pg.Querier) (found []json.RawMessage, err error) {
	if !s.has("config", "key", "value") {
		return nil, nil // before the release that gave each setting a row
	}
	rows, err := q.Query(ctx, "SELECT value::text FROM "+s.t("config")+" WHERE key = 'tool_server.connections'")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var list []json.RawMessage
		if json.Unmarshal(rows.RawValues()[0], &list) != nil {
			continue
		}
		for _, c := range list {
			var one struct {
				Info struct {
					Client json.RawMessage `json:"oauth_client_info"`
				}
			}
			if json.Unmarshal(c, &one) == nil && len(one.Info.Client) > 0 && strings.TrimSpace(string(one.Info.Client)) != "null" {
				found = append(found, one.Info.Client)
			}
		}
	}
	return found, rows.Err()
}
