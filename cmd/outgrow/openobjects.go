package main

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"

	layout "outgrow/mappings/files"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	sink "outgrow/sink/files"
	"outgrow/source/files"
)

// openStores opens the lane of files where a side has a provider: uploads go
// through it, what Open WebUI serves from the disk from one DATA_DIR to the
// other.
func (o *opener) openStores() error {
	src, dst := &readRoute{keep: true}, &writeRoute{}
	l := &lane[*pipeline.Object]{kind: pipeline.Files, workers: o.writers(), log: o.log, source: src, sink: dst, equal: o.compareFiles()}
	o.lanes = append(o.lanes, l)
	same, err := sameStore(o.from.Files, o.to.Files)
	if err != nil {
		return err
	}
	if err := o.routeCache(src, dst); err != nil {
		return err
	}
	if src.uploads, err = o.openUploads(); err != nil {
		return err
	}
	if src.stable, err = o.stableFiles(); err != nil {
		return err
	}
	if l.units, err = src.Units(o.ctx); err != nil {
		return err
	}
	if l.inPlace = same && src.disk == nil; !l.inPlace {
		if same {
			l.units = slices.DeleteFunc(l.units, isUploads)
		} else if dst.uploads, err = o.uploadSink(); err != nil {
			return err
		}
		state, err := localstate.Open(o.ctx, o.state, pipeline.Files, o.from.Mount)
		if err != nil {
			return err
		}
		l.journal, l.own = state, true
	}
	if to := fileStoreOf(o.to.Files); to != nil && to.flat {
		l.transforms = []pipeline.Transform[*pipeline.Object]{flatOnly}
	}
	l.fingerprint = func(context.Context) (string, error) { return o.filesFingerprint(dst.disk != nil) }
	l.now = func(ctx context.Context) (pipeline.Identity, error) { return o.filesNow(ctx, src) }
	o.dst.files = describeFiles(o.to) + o.cache.text
	if fileStoreOf(o.to.Files) == nil {
		o.dst.files = "copied to " + o.to.Mount + o.cache.text
	}
	if same {
		o.dst.files = describeFiles(o.to) + ", in place" + o.cache.text
	}
	if !o.opt.verify {
		return nil
	}
	back, err := o.openBack(o.ctx, src.disk != nil, o.flags.Include)
	if back != nil {
		l.back = back
	}
	return err
}

// compareFiles compares uploads as the target's provider lets them be compared,
// everything else byte by byte.
func (o *opener) compareFiles() objectCompare {
	if fileStoreOf(o.to.Files) == nil {
		return files.Equal
	}
	return routeCompare(objects.Equal(o.opt.deep), files.Equal)
}

// openUploads opens the reader of the source's uploads, once.
func (o *opener) openUploads() (fileReader, error) {
	if o.uploads != nil {
		return o.uploads, nil
	}
	stable, err := o.stableFiles()
	if err != nil {
		return nil, err
	}
	r, err := o.readUploads(o.ctx, stable)
	if err != nil {
		return nil, err
	}
	o.uploads = r
	o.closers = append(o.closers, r.Close)
	return r, nil
}

func (o *opener) readUploads(ctx context.Context, stable string) (fileReader, error) {
	st := fileStoreOf(o.from.Files)
	if st == nil {
		return files.Open(ctx, files.Config{Mount: o.from.Mount, Units: []string{layout.Uploads}, Stable: stable})
	}
	if err := o.makePrivate(); err != nil {
		return nil, err
	}
	return st.source(ctx, fileSide{files: o.from.Files, stable: stable, spool: o.private(), log: o.log})
}

// uploadSink opens the writer of the target's uploads.
func (o *opener) uploadSink() (objectSink, error) {
	st := fileStoreOf(o.to.Files)
	if st == nil {
		if err := o.needMount(); err != nil {
			return nil, err
		}
		return sink.Open(o.ctx, sink.Config{Mount: o.to.Mount, Owner: o.opt.chown, Replace: o.opt.replace})
	}
	return st.sink(o.ctx, fileSide{files: o.to.Files, log: o.log, spool: o.private(), state: filepath.Join(o.state, string(pipeline.Files), "uploads"), replace: o.opt.replace, tags: o.tags()})
}

// openBack opens the reader of the target: of its uploads, and with disk of what
// lies beside them.
func (s *session) openBack(ctx context.Context, disk bool, include []string) (*readRoute, error) {
	back := &readRoute{}
	if disk {
		r, err := files.Open(ctx, files.Config{Mount: s.to.Mount, Units: cacheUnits(), Include: include})
		if err != nil {
			return nil, err
		}
		back.disk = r
	}
	st := fileStoreOf(s.to.Files)
	if st == nil {
		r, err := files.Open(ctx, files.Config{Mount: s.to.Mount, Units: []string{layout.Uploads}})
		if err != nil {
			return nil, err
		}
		back.uploads = r
		return back, nil
	}
	if err := s.makePrivate(); err != nil {
		return nil, err
	}
	r, err := st.source(ctx, fileSide{files: s.to.Files, spool: s.private(), log: s.logger()})
	if err != nil {
		return nil, err
	}
	back.uploads = r
	return back, nil
}

// makePrivate makes the folder for temporary files.
func (s *session) makePrivate() error {
	if err := os.MkdirAll(s.private(), 0o700); err != nil {
		return pipeline.Environment("making a folder for temporary files", err, "name a writable folder with --state")
	}
	return nil
}

// filesFingerprint identifies the target of the files.
func (s *session) filesFingerprint(disk bool) (string, error) {
	st := fileStoreOf(s.to.Files)
	if st == nil {
		return folderID(s.to.Mount)
	}
	id := st.fingerprint(s.to.Files)
	if !disk {
		return id, nil
	}
	folder, err := folderID(s.to.Mount)
	return id + "+" + folder, err
}

// filesNow looks at the source anew.
func (o *opener) filesNow(ctx context.Context, src *readRoute) (pipeline.Identity, error) {
	uploads, err := o.readUploads(ctx, src.stable)
	if err != nil {
		return pipeline.Identity{}, err
	}
	now := &readRoute{uploads: uploads, stable: src.stable}
	defer now.Close() //nolint:errcheck // only read
	now.disk = src.disk
	id, err := now.Identity(ctx)
	now.disk = nil // the lane closes it
	return id, err
}

// nameSet is a set of names of uploads, by their hashes: eight bytes each.
type nameSet []uint64

func nameHash(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return h.Sum64()
}

func (n nameSet) has(name string) bool {
	_, ok := slices.BinarySearch(n, nameHash(layout.Uploads+"/"+name))
	return ok
}

// uploadNames lists the source's uploads.
func (o *opener) uploadNames() (nameSet, error) {
	src, err := o.openUploads()
	if err != nil {
		return nil, err
	}
	var names nameSet
	for key, err := range src.Keys(o.ctx, uploadsUnit()) {
		if err != nil {
			return nil, fmt.Errorf("listing the source's uploads: %w", err)
		}
		names = append(names, nameHash(key))
	}
	slices.SortFunc(names, cmp.Compare)
	return names, nil
}

func uploadsUnit() pipeline.Unit { return pipeline.Unit{Lane: pipeline.Files, Name: layout.Uploads} }

// flatOnly refuses what Open WebUI would not read back from a store that has no
// folders: it takes the first or the last part of the path for the key.
func flatOnly(u pipeline.Unit, obj *pipeline.Object) (*pipeline.Object, []pipeline.Change, []pipeline.Refusal) {
	if !isUploads(u) || !slices.Contains([]byte(obj.Name[min(len(obj.Name), len(layout.Uploads)+1):]), '/') {
		return obj, nil, nil
	}
	return nil, nil, []pipeline.Refusal{pipeline.NewRefusal(u, obj, "", pipeline.Invalid, "the name has a slash: Open WebUI does not read it back from this store")}
}
