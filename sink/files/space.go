package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	layout "outgrow/mappings/files"
	"outgrow/pipeline"
)

// Reasons of this package's findings.
const (
	NoSpace  pipeline.Reason = "space"
	ReadOnly pipeline.Reason = "not-writable"
	InUse    pipeline.Reason = "target-in-use"
)

// reserve is what is left free beside the files, in bytes.
const reserve = 64 << 20

// Check looks for room and for what is there already: files in the units are a
// warning, as only the copy can tell whether they are the same.
func (s *Sink) Check(ctx context.Context, units []pipeline.Unit) ([]pipeline.Finding, error) {
	var out []pipeline.Finding
	var needBytes, needFiles int64
	for _, u := range units {
		if u.Lane != pipeline.Files {
			continue
		}
		files, bytes, err := s.present(ctx, u.Name)
		if err != nil {
			return nil, classify("listing the target's "+u.Name, err)
		}
		needBytes += max(u.Bytes-bytes, 0)
		needFiles += max(u.Records-files, 0)
		if files > 0 {
			x := pipeline.Finding{Severity: pipeline.Warn, Reason: InUse, Unit: u.ID(), Count: files,
				Text: fmt.Sprintf("the target has %d files there, %d bytes: those that are the same are kept, others of the same name are refused", files, bytes),
				Fix:  "this is as it should be after an earlier run; else choose an empty folder, or --replace"}
			if s.cfg.Replace {
				x.Text = fmt.Sprintf("the target has %d files there, %d bytes: those of the same name are overwritten (--replace)", files, bytes)
				x.Fix = ""
			}
			out = append(out, x)
		}
	}
	out = append(out, s.ownerFindings()...)
	free, inodes, err := free(s.cfg.Mount)
	if err != nil {
		return nil, classify("asking for the target's free space", err)
	}
	if needBytes > 0 && needBytes+reserve > free {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: NoSpace,
			Text: fmt.Sprintf("the files need %d bytes, the target's disk has %d free", needBytes, free),
			Fix:  fmt.Sprintf("free %d bytes more on it", needBytes+reserve-free)})
	}
	if inodes > 0 && needFiles > inodes {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: NoSpace,
			Text: fmt.Sprintf("there are %d files, the target's file system can take %d more", needFiles, inodes), Fix: "use a file system with more inodes"})
	}
	if unix.Access(s.cfg.Mount, unix.W_OK|unix.X_OK) != nil {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: ReadOnly, Text: "this user may not write to the target's data folder",
			Fix: "mount it for writing, or run as its owner"})
	}
	return out, nil
}

// Vacant reports whether the target has no file of a unit.
func (s *Sink) Vacant(ctx context.Context, unit pipeline.Unit) (bool, error) {
	files, _, err := s.present(ctx, filepath.FromSlash(unit.Name))
	if err != nil {
		return false, classify("looking at "+unit.Name, err)
	}
	return files == 0, nil
}

// present counts what is in a unit on the target.
func (s *Sink) present(ctx context.Context, dir string) (files, bytes int64, err error) {
	info, err := s.root.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	if !info.IsDir() {
		return 1, info.Size(), nil
	}
	var dirs []string
	var failed error
	err = s.list(ctx, dir, func(e fs.DirEntry) {
		n := filepath.Join(dir, e.Name())
		if e.IsDir() {
			dirs = append(dirs, n)
			return
		}
		if ok, _ := filepath.Match(layout.PartialPrefix+"*", e.Name()); ok {
			return
		}
		info, err := s.root.Lstat(n)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				failed = err
			}
			return
		}
		files++
		bytes += info.Size()
	})
	if err == nil {
		err = failed
	}
	for _, d := range dirs {
		if err != nil {
			return 0, 0, err
		}
		var f, b int64
		f, b, err = s.present(ctx, d)
		files, bytes = files+f, bytes+b
	}
	return files, bytes, err
}

// free gives the bytes and inodes that this user can still use; 0 inodes when
// the file system does not say.
func free(at string) (bytes, inodes int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		return 0, 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Ffree), nil //nolint:unconvert // types differ between systems
}
