package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"outgrow/mappings/env"
	"outgrow/mappings/files"
	sink "outgrow/sink/files"
	"outgrow/source/sqlite"
)

// sight is how the old side looks from outside, without opening it: equal as long
// as nobody writes. What is not on a disk cannot be seen and is "".
type sight struct {
	Database string `json:"database,omitempty"`
	Vectors  string `json:"vectors,omitempty"`
	Uploads  string `json:"uploads,omitempty"`
	InUse    bool   `json:"in_use,omitempty"` // a process has the database open

	seen *seen
}

// seen is what a look tells beside.
type seen struct {
	wrote           time.Time // the database
	vectors, upload newest
}

// newest is the file of a folder that was written to last.
type newest struct {
	name string
	at   time.Time
}

// look looks at the old side. It must not be called while a session is open.
func (g *guide) look() (sight, error) {
	return lookAt(g.app, g.from, g.cmd.Stopped != nil && *g.cmd.Stopped)
}

func lookAt(a *app, from env.Deployment, stopped bool) (s sight, err error) {
	s.seen = &seen{}
	if from.Database.Kind == env.SQLite {
		db, err := sqlite.Look(from.Database.Path, a.fs)
		if err != nil {
			return s, err
		}
		s.Database, s.InUse, s.seen.wrote = db.State, db.InUse && !stopped, db.Wrote
	}
	err = s.folders(from, true, true)
	return s, err
}

// folders looks at the folders of an embedded vector store and of uploads, by
// their entries alone: this process may have them open.
func (s *sight) folders(from env.Deployment, vectors, uploads bool) (err error) {
	if vectors && from.Vector.Embedded() {
		if s.Vectors, s.seen.vectors, err = folderSight(from.Vector.Path); err != nil {
			return err
		}
	}
	if uploads && from.Files.Provider == env.Local && from.Mount != "" {
		s.Uploads, s.seen.upload, err = folderSight(filepath.Join(from.Mount, files.Uploads))
	}
	return err
}

// folderSight digests names, sizes and times of all files below a folder, in the
// order of their names; "none" where there is no folder. Of a folder below it that
// this user may not list there is nothing to see.
func folderSight(dir string) (string, newest, error) {
	h, last := sha256.New(), newest{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != dir {
			return nil // went away meanwhile: the next look differs
		}
		if errors.Is(err, fs.ErrPermission) && path != dir && d.IsDir() {
			_, _ = fmt.Fprintf(h, "%q closed\n", path[len(dir):]) // the files lane tells of it
			return fs.SkipDir
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(h, "%q %d %d\n", path[len(dir):], info.Size(), info.ModTime().UnixNano())
		if info.ModTime().After(last.at) {
			last = newest{filepath.Base(path), info.ModTime()}
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return "none", last, nil
	}
	if err != nil {
		return "", last, fmt.Errorf("looking at %s: %w", dir, err)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), last, nil
}

// sharedFiles reports whether both sides use one folder of files: what is written
// there may be the new app's.
func sharedFiles(from, to env.Deployment) bool {
	if _, given := to.Vars["DATA_DIR"]; !given && !to.MountGiven {
		return true
	}
	same, err := sink.SameFolder(from.Mount, to.Mount)
	return err == nil && same
}

// same reports whether nothing was written between two looks.
func (s sight) same(o sight) bool {
	return s.Database == o.Database && s.Vectors == o.Vectors && s.Uploads == o.Uploads
}

// complete reports whether everything of the old side that is in use can be seen.
func (s sight) complete() bool { return s.Database != "" }

// busy says what was written since the look before, or still may be.
func (s sight) busy(before sight) []string {
	var out []string
	if s.Database != before.Database {
		out = append(out, "webui.db is written to (last "+ago(time.Since(s.seen.wrote))+")")
	} else if s.InUse {
		out = append(out, "webui.db is open in another process")
	}
	if s.Vectors != before.Vectors {
		out = append(out, fmt.Sprintf("vector_db is written to (%s, %s)", printable(s.seen.vectors.name), ago(time.Since(s.seen.vectors.at))))
	}
	if s.Uploads != before.Uploads {
		out = append(out, fmt.Sprintf("uploads is written to (%s, %s)", printable(s.seen.upload.name), ago(time.Since(s.seen.upload.at))))
	}
	return out
}
