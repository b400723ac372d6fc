package files

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	layout "outgrow/mappings/files"
	"outgrow/pipeline"
)

// Objects reads uploads, wherever they are.
type Objects interface {
	pipeline.Source[*pipeline.Object]
	pipeline.Getter[*pipeline.Object]
}

// asked is how many names are looked up at a time.
const asked = 1000

// CrossCheckObjects is [CrossCheck] for uploads that are not in a folder.
func CrossCheckObjects(ctx context.Context, uploads Objects, rows iter.Seq2[FileRow, error]) (Crossing, error) {
	x := crossing{unit: pipeline.Unit{Lane: pipeline.Files, Name: layout.Uploads}, uploads: uploads}
	for row, err := range rows {
		if err != nil {
			return x.c, fmt.Errorf("reading the table file: %w", err)
		}
		if layout.Name(row.Path) == "" {
			continue
		}
		if x.page = append(x.page, row); len(x.page) == asked {
			if err := x.look(ctx); err != nil {
				return x.c, err
			}
		}
	}
	if err := x.look(ctx); err != nil {
		return x.c, err
	}
	slices.Sort(x.known)
	for b, err := range uploads.Read(ctx, pipeline.Part{Unit: x.unit}, "") {
		if err != nil {
			return x.c, fmt.Errorf("listing %s: %w", x.unit.Name, err)
		}
		for _, o := range b.Records {
			x.stray(o)
		}
	}
	x.c.Findings = x.f.list
	return x.c, nil
}

// crossing is one call of CrossCheckObjects.
type crossing struct {
	unit    pipeline.Unit
	uploads Objects
	page    []FileRow
	known   []uint64
	f       findings
	c       Crossing
}

// look looks the page's names up.
func (x *crossing) look(ctx context.Context) error {
	keys := make([]string, len(x.page))
	for i, row := range x.page {
		name := layout.Name(row.Path)
		keys[i] = layout.Uploads + "/" + name
		x.known = append(x.known, hash(name))
	}
	have, err := x.uploads.Get(ctx, x.unit, keys)
	if err != nil {
		return fmt.Errorf("looking uploads up: %w", err)
	}
	for i, row := range x.page {
		o, ok := have[keys[i]]
		name := layout.Name(row.Path)
		switch {
		case !ok:
			x.c.Missing++
			x.c.missing = append(x.c.missing, row.Created.Unix())
			x.f.add(pipeline.Finding{Severity: pipeline.Warn, Reason: pipeline.MissingFile, Unit: x.unit.ID(), Key: row.ID,
				Text: fmt.Sprintf("uploads has no %q, so Open WebUI answers 404 for its content", name), Fix: "put the file back, or leave it as it is on the source"})
		case row.Size > 0 && o.Bytes != row.Size:
			x.f.add(pipeline.Finding{Severity: pipeline.Note, Reason: SizeOff, Unit: x.unit.ID(), Key: row.ID,
				Text: fmt.Sprintf("%q has %d bytes, its row says %d", name, o.Bytes, row.Size)})
		}
	}
	x.page = x.page[:0]
	return nil
}

// stray notes an object that no row names.
func (x *crossing) stray(o *pipeline.Object) {
	if o.ModTime.After(x.c.Newest) {
		x.c.Newest = o.ModTime
	}
	name := strings.TrimPrefix(o.Name, layout.Uploads+"/")
	if _, ok := slices.BinarySearch(x.known, hash(name)); ok {
		return
	}
	x.c.Strays++
	x.c.strays = append(x.c.strays, o.ModTime.Unix())
	x.f.add(pipeline.Finding{Severity: pipeline.Note, Reason: NoRow, Unit: x.unit.ID(), Key: o.Name, Text: "no row of the database names this file; it is copied all the same"})
}
