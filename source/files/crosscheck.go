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
	var c Crossing
	s, err := Open(ctx, Config{Mount: root})
	if err != nil {
		return c, err
	}
	var f findings
	unit := pipeline.Unit{Lane: pipeline.Files, Name: layout.Uploads}
	w, err := s.open(unit.Name)
	there := !errors.Is(err, fs.ErrNotExist)
	if there && err != nil {
		return c, classify("opening "+unit.Name, err)
	}
	if there {
		defer w.close()
	}
	var known []uint64
	for row, err := range rows {
		if err != nil {
			return c, fmt.Errorf("reading the table file: %w", err)
		}
		if ctx.Err() != nil {
			return c, context.Cause(ctx)
		}
		name := layout.Name(row.Path)
		if name == "" {
			continue
		}
		known = append(known, hash(name))
		info, err := fs.FileInfo(nil), fs.ErrNotExist
		if there {
			info, err = w.root.Stat(name)
		}
		x := pipeline.Finding{Severity: pipeline.Warn, Reason: pipeline.MissingFile, Unit: unit.ID(), Key: row.ID}
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && !info.Mode().IsRegular():
			x.Text = fmt.Sprintf("uploads has no %q, so Open WebUI answers 404 for its content", name)
			x.Fix = "put the file back, or leave it as it is on the source"
			c.Missing++
			c.missing = append(c.missing, row.Created.Unix())
		case err != nil:
			x.Reason, x.Text = pipeline.Unreadable, fmt.Sprintf("%q cannot be looked at", name)
			x.Fix = "let this user read the folder"
		case row.Size > 0 && info.Size() != row.Size:
			x.Severity, x.Reason = pipeline.Note, SizeOff
			x.Text = fmt.Sprintf("%q has %d bytes, its row says %d", name, info.Size(), row.Size)
		default:
			continue
		}
		f.add(x)
	}
	if !there {
		c.Findings = f.list
		return c, nil
	}
	slices.Sort(known)
	err = w.each(ctx, func(e entry) (bool, error) {
		if e.mode.Type()&^fs.ModeSymlink != 0 {
			return true, nil
		}
		info, err := w.root.Lstat(e.rel)
		if err != nil {
			return true, nil // gone meanwhile, or Check tells of it
		}
		if info.ModTime().After(c.Newest) {
			c.Newest = info.ModTime()
		}
		if _, ok := slices.BinarySearch(known, hash(e.rel)); !ok {
			c.Strays++
			c.strays = append(c.strays, info.ModTime().Unix())
			f.add(pipeline.Finding{Severity: pipeline.Note, Reason: NoRow, Unit: unit.ID(), Key: key(w.name(e.rel)), Text: "no row of the database names this file; it is copied all the same"})
		}
		return true, nil
	})
	c.Findings = f.list
	return c, classify("listing "+unit.Name, err)
}

func hash(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return h.Sum64()
}
