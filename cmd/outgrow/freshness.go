package main

import (
	"context"
	"fmt"
	"time"

	"outgrow/pipeline"
	"outgrow/source/files"
	"outgrow/source/sqlite"
)

// drift is what the three stores of a folder say of each other's age. The worst
// trap of a cutover is an old webui.db or vector_db left in the folder of a
// deployment that has long moved on.
type drift struct {
	newestRow    time.Time // newest time any row tells of
	newestUpload time.Time // newest mtime in uploads
	// Uploads without a row of table file that are newer than every row.
	newerStrays int64
	// File rows without their upload that are newer than every upload.
	newerMissing int64
	// Rows that should have a collection: processed files and knowledge bases
	// with files that are not external; and those which have none.
	embedded, without int64
	// Collections that name a file or knowledge base no row knows.
	unknown int64
	// Whether a vector store was looked at at all.
	vectors bool
}

// grace is how far two stores may drift apart before that means something: a
// file is written a moment before its row, a clock may be off.
const grace = 24 * time.Hour

// enough is how many records must say the same before it counts as drift.
const enough = 3

// driftReason lets an operator who knows better overrule the rule.
const driftReason pipeline.Reason = "drift"

func (d drift) findings() []pipeline.Finding {
	var out []pipeline.Finding
	refuse := func(text, fix string) {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: driftReason, Text: text, Fix: fix + "; if this really is the data in use: --accept drift"})
	}
	warn := func(reason pipeline.Reason, n int64, format, fix string) {
		if n > 0 {
			out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: reason, Count: n, Text: fmt.Sprintf(format, number(n)), Fix: fix})
		}
	}
	if d.newerStrays >= enough && d.newestUpload.Sub(d.newestRow) > grace {
		refuse(fmt.Sprintf("the database looks left behind: its newest row is of %s, but %s uploads that no row knows are newer, the last of %s",
			day(d.newestRow), number(d.newerStrays), day(d.newestUpload)),
			"name the database that the app really uses: an env file with its DATABASE_URL as --from, or the folder mounted into the container")
	}
	if d.newerMissing >= enough && d.newestRow.Sub(d.newestUpload) > grace {
		refuse(fmt.Sprintf("the uploads look left behind: the newest is of %s, but %s newer file rows have no upload", day(d.newestUpload), number(d.newerMissing)),
			"name the DATA_DIR whose uploads the app really writes to, with --from or --from-mount")
	}
	if d.vectors && d.without >= enough && 2*d.without > d.embedded {
		refuse(fmt.Sprintf("the vector store looks left behind: %s of %s processed files and knowledge bases have no collection in it", number(d.without), number(d.embedded)),
			"the app may use another vector store (VECTOR_DB): name its env file as --from")
	} else if d.vectors {
		warn("no-collection", d.without, "%s processed files or knowledge bases have no collection: they are not searched on the source either", "reindex them in Open WebUI")
	}
	if d.vectors {
		warn("unknown-collection", d.unknown, "%s collections belong to files or knowledge bases that no row knows; they are copied all the same", "")
	}
	return out
}

func day(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// driftFindings compares the three stores of the source.
func (s *session) driftFindings(ctx context.Context) ([]pipeline.Finding, error) {
	if s.src.source == nil {
		return s.unknownCollections(ctx)
	}
	var d drift
	for _, t := range s.src.rows.Newest {
		if t.After(d.newestRow) {
			d.newestRow = t
		}
	}
	collections, known := map[string]bool{}, map[string]bool{}
	uploads := false
	for _, l := range s.lanes {
		uploads = uploads || l.Kind() == pipeline.Files
		if l.Kind() == pipeline.Vectors {
			d.vectors = true
			for _, u := range l.Units() {
				collections[u.Name] = true
			}
		}
	}
	rows := func(yield func(files.FileRow, error) bool) {
		for r, err := range s.src.source.FileRows(ctx) {
			if err == nil && r.Collection != "" {
				d.embedded++
				if !collections[r.Collection] {
					d.without++
				}
			}
			if !yield(files.FileRow{ID: r.ID, Path: r.Path, Hash: r.Hash, Size: max(r.Size, 0), Created: r.Created}, err) {
				return
			}
		}
	}
	var cross files.Crossing
	var err error
	switch {
	case uploads:
		cloud := fileStoreOf(s.from.Files) != nil
		if cloud {
			cross, err = files.CrossCheckObjects(ctx, s.uploads, rows)
		} else {
			cross, err = files.CrossCheck(ctx, s.from.Mount, rows)
		}
		d.newestUpload = cross.Newest
		d.newerMissing = cross.MissingAfter(d.newestUpload.Add(grace))
		if !cloud { // an object's time is that of its last copy
			d.newerStrays = cross.StraysAfter(d.newestRow.Add(grace))
		}
	case d.vectors:
		for _, e := range rows {
			if err = e; err != nil {
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	if err := s.knowledgeDrift(ctx, &d, collections, known); err != nil {
		return nil, err
	}
	return append(cross.Findings, d.findings()...), nil
}

// knowledgeDrift counts knowledge bases without, and collections of nobody.
func (s *session) knowledgeDrift(ctx context.Context, d *drift, collections, known map[string]bool) error {
	for id, err := range s.src.source.Embedded(ctx) {
		if err != nil {
			return err
		}
		known[id] = true
		d.embedded++
		if !collections[id] {
			d.without++
		}
	}
	for _, table := range []string{"file", "knowledge"} {
		for id, err := range s.src.source.IDs(ctx, table) {
			if err != nil {
				return err
			}
			known[id], known["file-"+id] = true, true
		}
	}
	for name := range collections {
		if sqlite.NamesRow(name) && !known[name] {
			d.unknown++
		}
	}
	return nil
}

// unknownCollections is what can be said of collections where the database is
// not SQLite, or of no use: it then only tells ids.
func (s *session) unknownCollections(ctx context.Context) ([]pipeline.Finding, error) {
	ids := s.ids()
	if ids == nil {
		return nil, nil
	}
	d, known, some := drift{}, map[string]bool{}, false
	for _, table := range []string{"file", "knowledge"} {
		for id, err := range ids(ctx, table) {
			if err != nil {
				return nil, err
			}
			known[id], known["file-"+id], some = true, true, true
		}
	}
	for _, l := range s.lanes {
		if l.Kind() != pipeline.Vectors || !some {
			continue
		}
		d.vectors = true
		for _, u := range l.Units() {
			if sqlite.NamesRow(u.Name) && !known[u.Name] {
				d.unknown++
			}
		}
	}
	return d.findings(), nil
}
