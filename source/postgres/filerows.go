package postgres

import (
	"context"
	"encoding/json"
	"iter"
	"strconv"

	"outgrow/mappings/inspect"
	"outgrow/mappings/pg"
	"outgrow/mappings/schema"
)

// FileRows lists table file; nothing where there is no such table.
func (s *Source) FileRows(ctx context.Context) iter.Seq2[inspect.FileRow, error] {
	if !s.has("file", "id") {
		return func(func(inspect.FileRow, error) bool) {}
	}
	sql := "SELECT id::text"
	for _, c := range []string{"path", "filename", "hash", "meta", "created_at"} {
		switch column, ok := s.tables["file"].Column(c); {
		case !ok: // before the release that added it
			sql += ", NULL"
		case c == "created_at" && column.Type != schema.Bigint && column.Type != schema.Integer:
			sql += ", NULL"
		case c == "created_at":
			sql += ", created_at"
		default:
			sql += ", " + pg.Ident(c) + "::text"
		}
	}
	return each(ctx, s, "listing the files", sql+" FROM "+s.t("file"), func(scan scanner) (inspect.FileRow, bool, error) {
		var id, path, filename, hash, meta *string
		var created *int64
		if err := scan(&id, &path, &filename, &hash, &meta, &created); err != nil {
			return inspect.FileRow{}, false, err
		}
		r := inspect.FileRow{ID: plain(id), Path: plain(path), Filename: plain(filename), Hash: plain(hash), Size: -1}
		r.HasPath = r.Path != ""
		if created != nil && *created > 0 {
			r.Created = inspect.Moment(*created)
		}
		var m struct {
			Size       json.RawMessage
			Collection json.RawMessage `json:"collection_name"`
		}
		if meta != nil && json.Unmarshal([]byte(*meta), &m) == nil {
			if n, err := strconv.ParseInt(string(m.Size), 10, 64); err == nil {
				r.Size = n
			}
			r.Collection = scalar(m.Collection)
		}
		return r, true, nil
	})
}

func plain(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// scalar is the text of a JSON string, the literal of anything else, "" for null
// and for nothing.
func scalar(v json.RawMessage) string {
	var text string
	if v == nil || string(v) == "null" {
		return ""
	}
	if json.Unmarshal(v, &text) == nil {
		return text
	}
	return string(v)
}

// Embedded lists the ids of knowledge bases that must have a collection: those
// with files, except external ones, whose documents are elsewhere.
func (s *Source) Embedded(ctx context.Context) iter.Seq2[string, error] {
	if !s.has("knowledge", "id") || !s.has("knowledge_file", "knowledge_id") {
		return func(func(string, error) bool) {} // before the release that added them
	}
	meta := "NULL"
	if s.has("knowledge", "meta") {
		meta = "meta::text"
	}
	sql := "SELECT id::text, " + meta + " FROM " + s.t("knowledge") + " k WHERE EXISTS (SELECT FROM " + s.t("knowledge_file") + " f WHERE f.knowledge_id = k.id)"
	return each(ctx, s, "listing the knowledge bases", sql, func(scan scanner) (id string, keep bool, err error) {
		var meta *string
		err = scan(&id, &meta)
		return id, meta == nil || !isExternal(*meta), err
	})
}
