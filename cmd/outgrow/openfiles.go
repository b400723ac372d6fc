package main

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	sink "outgrow/sink/files"
	"outgrow/source/files"
)

// openFiles opens the lane of files: between two folders, or between whatever
// providers the two sides have.
func (o *opener) openFiles() error {
	if fileStoreOf(o.from.Files) == nil && fileStoreOf(o.to.Files) == nil {
		return o.openFolders()
	}
	return o.openStores()
}

func (o *opener) openFolders() error {
	l := &lane[*pipeline.Object]{kind: pipeline.Files, workers: o.writers(), log: o.log, equal: files.Equal}
	o.lanes = append(o.lanes, l)
	stable, err := o.stableFiles()
	if err != nil {
		return err
	}
	src, err := files.Open(o.ctx, files.Config{Mount: o.from.Mount, Include: o.flags.Include, Stable: stable})
	if err != nil {
		return err
	}
	l.source = src
	if l.units, err = src.Units(o.ctx); err != nil {
		return err
	}
	if err := o.needMount(); err != nil {
		return err
	}
	if l.inPlace, err = sink.SameFolder(o.from.Mount, o.to.Mount); err != nil {
		return err
	}
	l.fingerprint = func(context.Context) (string, error) { return folderID(o.to.Mount) }
	o.dst.files = "copied to " + o.to.Mount
	if l.inPlace {
		o.dst.files = "same folder, in place"
	}
	if !l.inPlace {
		dst, err := sink.Open(o.ctx, sink.Config{Mount: o.to.Mount, Owner: o.opt.chown, Replace: o.opt.replace})
		if err != nil {
			return err
		}
		l.sink = dst
		state, err := localstate.Open(o.ctx, o.state, pipeline.Files, o.from.Mount)
		if err != nil {
			return err
		}
		l.journal, l.own = state, true
	}
	if !o.opt.verify {
		return nil
	}
	back, err := files.Open(o.ctx, files.Config{Mount: o.to.Mount, Include: o.flags.Include})
	if err != nil {
		return err
	}
	l.back = back
	return nil
}

// needMount fails unless the target's DATA_DIR is reached from here.
func (o *opener) needMount() error {
	if err := o.to.CheckMount(); err != nil {
		return pipeline.Usage("looking for the target's DATA_DIR", err,
			"mount it here and name the place with --to-mount; when the data folder stays as it is, give the source's folder there or leave DATA_DIR out of the env file")
	}
	return nil
}

// stableFiles names the source of the files: by its database, which lies beside
// them, or by the folder or bucket itself.
func (o *opener) stableFiles() (string, error) {
	if st := fileStoreOf(o.from.Files); st != nil && o.db.sqlite == nil {
		return st.fingerprint(o.from.Files), nil
	}
	if o.db.sqlite == nil {
		return folderID(o.from.Mount)
	}
	id, err := o.db.sqlite.Identity(o.ctx)
	return id.Stable, err
}

// folderID identifies a folder without naming it, by device and inode.
func folderID(dir string) (string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return "", pipeline.Environment("looking at the target's DATA_DIR", err, "mount it, or say with --to-mount where it is mounted here")
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "files", nil
	}
	return fmt.Sprintf("files:%d:%d", st.Dev, st.Ino), nil
}
