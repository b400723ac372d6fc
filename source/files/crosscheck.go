package files

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"iter"
	"slices"
	"time"

	layout "outgrow/mappings/files"
	"outgrow/pipeline"
)

// FileRow is what a row of the table file says about its file.
type FileRow struct {
	ID string
	// Path is file.path as stored; "" for rows that have no file.
	Path string
	// Hash is file.hash: that of the extracted text, not of the bytes, so it
	// is not compared.
	Hash string
	// Size is meta.size in bytes, 0 when unknown.
	Size int64
	// Created is when the row was made, zero when unknown.
	Created time.Time
}

// Crossing is what [CrossCheck] found.
type Crossing struct {
	// Findings name the first of each kind; the counts are exact.
	Findings []pipeline.Finding
	// Newest is the modification time of the newest upload.
	Newest time.Time
	// Missing counts rows without their file, Strays files without a row.
	Missing, Strays int64

	missing, strays []int64 // unix seconds of each
}

// MissingAfter counts the rows without a file that were made after t.
func (c *Crossing) MissingAfter(t time.Time) int64 { return after(c.missing, t) }

// StraysAfter counts the files without a row that were written after t.
func (c *Crossing) StraysAfter(t time.Time) int64 { return after(c.strays, t) }

func after(times []int64, t time.Time) (n int64) {
	for _, s := range times {
		if s > t.Unix() {
			n++
		}
	}
	return n
}

// CrossCheck compares the rows of the table file with the uploads below root (a
// DATA_DIR as reached from here). A row whose file is missing is a warning with
// reason missing-file: Open WebUI answers 404 for it on the source as well. A
// file without a row, and a size that is not the row's, are notes. It holds
// eight bytes for each row and for each of either kind.
func CrossCheck(ctx context.Context, root string, rows iter.Seq2[FileRow, error]) (Crossing, error) {
	s, err := Open(ctx, Config{Mount: root})
	if err != nil {
		return Crossing{}, err
	}
	w, err := s.open(layout.Uploads)
	if errors.Is(err, fs.ErrNotExist) {
		return cross(ctx, nowhere{}, rows)
	}
	if err != nil {
		return Crossing{}, classify("opening "+layout.Uploads, err)
	}
	defer w.close()
	return cross(ctx, folder{w}, rows)
}

// CrossCheckObjects is [CrossCheck] for uploads that are not in a folder.
func CrossCheckObjects(ctx context.Context, uploads Objects, rows iter.Seq2[FileRow, error]) (Crossing, error) {
	return cross(ctx, reader{uploads}, rows)
}

// asked is how many names are looked up at a time.
const asked = 1000

// crossing is one cross-check.
type crossing struct {
	unit  pipeline.Unit
	at    uploads
	page  []FileRow
	known []uint64
	f     pipeline.Findings
	c     Crossing
}

func cross(ctx context.Context, at uploads, rows iter.Seq2[FileRow, error]) (Crossing, error) {
	x := crossing{unit: pipeline.Unit{Lane: pipeline.Files, Name: layout.Uploads}, at: at}
	for row, err := range rows {
		if err != nil {
			return x.c, fmt.Errorf("reading the table file: %w", err)
		}
		if ctx.Err() != nil {
			return x.c, context.Cause(ctx)
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
	err := at.each(ctx, x.stray)
	x.c.Findings = x.f.List()
	return x.c, err
}

// look looks the page's names up.
func (x *crossing) look(ctx context.Context) error {
	names := make([]string, len(x.page))
	for i, row := range x.page {
		names[i] = layout.Name(row.Path)
		x.known = append(x.known, hash(names[i]))
	}
	have, err := x.at.look(ctx, names)
	if err != nil {
		return err
	}
	for i, row := range x.page {
		name := names[i]
		there, ok := have[name]
		f := pipeline.Finding{Severity: pipeline.Warn, Reason: pipeline.MissingFile, Unit: x.unit.ID(), Key: row.ID}
		switch {
		case !ok:
			f.Text = fmt.Sprintf("uploads has no %q, so Open WebUI answers 404 for its content", name)
			f.Fix = "put the file back, or leave it as it is on the source"
			x.c.Missing++
			x.c.missing = append(x.c.missing, row.Created.Unix())
		case there.closed:
			f.Reason, f.Text = pipeline.Unreadable, fmt.Sprintf("%q cannot be looked at", name)
			f.Fix = "let this user read it; where it is a link that leads out of the folder, put the file itself in its place"
		case row.Size > 0 && there.bytes != row.Size:
			f.Severity, f.Reason = pipeline.Note, SizeOff
			f.Text = fmt.Sprintf("%q has %d bytes, its row says %d", name, there.bytes, row.Size)
		default:
			continue
		}
		x.f.Add(f)
	}
	x.page = x.page[:0]
	return nil
}

// stray notes an upload that no row names.
func (x *crossing) stray(name string, modified time.Time) {
	if modified.After(x.c.Newest) {
		x.c.Newest = modified
	}
	if _, ok := slices.BinarySearch(x.known, hash(name)); ok {
		return
	}
	x.c.Strays++
	x.c.strays = append(x.c.strays, modified.Unix())
	x.f.Add(pipeline.Finding{Severity: pipeline.Note, Reason: NoRow, Unit: x.unit.ID(), Key: layout.Printable(layout.Uploads + "/" + name), Text: "no row of the database names this file; it is copied all the same"})
}

func hash(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return h.Sum64()
}
