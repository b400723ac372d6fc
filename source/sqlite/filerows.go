package sqlite

import (
	"context"
	"iter"
	"regexp"
	"strings"

	"outgrow/mappings/inspect"
)

// FileRows lists table file; nothing where there is no such table.
func (s *Source) FileRows(ctx context.Context) iter.Seq2[inspect.FileRow, error] {
	return func(yield func(inspect.FileRow, error) bool) {
		if s.table("file") == nil {
			return
		}
		t, err := s.readable("file")
		if err != nil {
			yield(inspect.FileRow{}, err)
			return
		}
		columns := []string{}
		for _, c := range []string{"path", "filename", "hash"} {
			if t.has(c) {
				columns = append(columns, "+"+ident(c))
			} else {
				columns = append(columns, "NULL") // before the release that added it
			}
		}
		size, collection, created := "NULL", "NULL", "NULL"
		if t.has("meta") {
			size, collection = jsonText("meta", "$.size"), jsonText("meta", "$.collection_name")
		}
		if t.has("created_at") {
			created = "+created_at"
		}
		for v, err := range s.scan(ctx, t, "+id, "+strings.Join(append(columns, size, collection, created), ", "), "") {
			if err != nil {
				yield(inspect.FileRow{}, err)
				return
			}
			r := inspect.FileRow{ID: asText(v[0]), Path: asText(v[1]), Filename: asText(v[2]), Hash: asText(v[3]), Size: -1, Collection: asText(v[5])}
			r.HasPath = r.Path != ""
			if n, ok := v[4].(int64); ok {
				r.Size = n
			}
			if n, ok := v[6].(int64); ok && n > 0 {
				r.Created = inspect.Moment(n)
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Embedded lists the ids of knowledge bases that must have a collection: those
// with files, except external ones, whose documents are elsewhere.
func (s *Source) Embedded(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		t, files := s.table("knowledge"), s.table("knowledge_file")
		if t == nil || files == nil {
			return // before the release that added them
		}
		where := `EXISTS (SELECT 1 FROM knowledge_file WHERE knowledge_file.knowledge_id = knowledge.id)`
		if t.has("meta") {
			where += " AND " + jsonText("meta", "$.source") + " IS NOT 'external'"
		}
		for v, err := range s.scan(ctx, t, "+id", where) {
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

// uuid is how Open WebUI spells the ids that collections are named by.
var uuid = regexp.MustCompile(`^(file-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// NamesRow reports whether a collection's name is that of a file ("file-" and
// its id) or of a knowledge base (its id).
func NamesRow(collection string) bool { return uuid.MatchString(collection) }
