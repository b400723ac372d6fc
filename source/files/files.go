// Package files reads a DATA_DIR: the folders below it that hold what users and
// functions made. A unit is one such folder, a record one regular file in it.
// Nothing is changed: files are opened for reading only, where the system
// allows it without touching their access time.
//
// Order and memory: files come in the order of their path, part by part (the
// names of one folder bytewise, a folder's content at its place). Of each
// folder at most Config.Window names are held at a time; a folder with more is
// listed again for each further window. A cursor is the last path.
package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	layout "outgrow/mappings/files"
	"outgrow/mappings/fstype"
	"outgrow/pipeline"
)

// Config says what to read.
type Config struct {
	// Mount is the DATA_DIR as it is reached from here.
	Mount string
	// Units names those of the folders that move which are read; nil for all.
	Units []string
	// Include lists further entries of DATA_DIR to move, by their path below
	// it: folders or single files.
	Include []string
	// Limits bounds a batch; its default is 256 files or 256 MiB.
	Limits pipeline.Limits
	// Window is how many names of one folder are held at a time for each part
	// being read, 0 for 65536 (about 10 MB).
	Window int
	// Hash fills in SHA256 of every object that is read or got.
	Hash bool
	// Stable is the identity that the deployment is known by; "" takes the
	// inode of the DATA_DIR.
	Stable string
	// FileSystem finds the type of the file system; nil means fstype.Of.
	FileSystem fstype.Detect
}

// Source reads a DATA_DIR. It is safe for concurrent use.
type Source struct {
	cfg Config
	fs  fstype.Type
	// folders are those of the units as they were at Open.
	folders map[string]fs.FileInfo
}

var (
	_ pipeline.Source[*pipeline.Object] = (*Source)(nil)
	_ pipeline.Getter[*pipeline.Object] = (*Source)(nil)
	_ pipeline.Counter                  = (*Source)(nil)
	_ pipeline.KeyLister                = (*Source)(nil)
	_ pipeline.Splitter                 = (*Source)(nil)
	_ pipeline.Identifier               = (*Source)(nil)
	_ pipeline.Checker                  = (*Source)(nil)
)

// Errors that have a reason of their own.
var (
	ErrNotFolder = errors.New("not a folder")
	ErrInclude   = errors.New("cannot be included")
	// ErrFolderGone: a share was unmounted, or the folder was replaced. Its files
	// have not vanished one by one.
	ErrFolderGone = errors.New("the folder is not the one that it was when reading began")
)

// Open looks at the folder. It fails with exit code 3 when it cannot be read,
// and with 2 when Include names what is moved already or must not be moved.
func Open(_ context.Context, cfg Config) (*Source, error) {
	if cfg.Window <= 0 {
		cfg.Window = 65536
	}
	cfg.Limits = cfg.Limits.WithDefaults(256, 256<<20)
	info, err := os.Stat(cfg.Mount)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s: %w", cfg.Mount, ErrNotFolder)
	}
	if err == nil {
		// The content must be readable, too.
		var f *os.File
		if f, err = os.Open(cfg.Mount); err == nil {
			_ = f.Close()
		}
	}
	if err != nil {
		return nil, pipeline.Environment("opening the data folder", err, "give the folder that holds uploads/ and cache/, readable to this user")
	}
	cfg.Include = slices.Clone(cfg.Include)
	for i, name := range cfg.Include {
		name = path.Clean(filepath.ToSlash(name))
		cfg.Include[i] = name
		if err := checkInclude(cfg.Mount, name, append(layout.Units(), cfg.Include[:i]...)); err != nil {
			return nil, pipeline.Usage("including "+name, err, "name an entry of the data folder that plan lists as not moved")
		}
	}
	on, err := cfg.FileSystem.Or()(cfg.Mount)
	if err != nil {
		return nil, pipeline.Environment("looking at the file system of the data folder", err, "see that it is mounted")
	}
	s := &Source{cfg: cfg, fs: on, folders: map[string]fs.FileInfo{}}
	for _, name := range s.names() {
		if info, err := os.Stat(filepath.Join(cfg.Mount, name)); err == nil && info.IsDir() {
			s.folders[name] = info
		}
	}
	return s, nil
}

func checkInclude(mount, name string, taken []string) error {
	if !filepath.IsLocal(name) || name == "." {
		return fmt.Errorf("it is not below the data folder: %w", ErrInclude)
	}
	if layout.Classify(name) == layout.Never {
		return fmt.Errorf("it must not be copied (%s): %w", layout.Reason(name), ErrInclude)
	}
	for _, t := range taken {
		if name == t || strings.HasPrefix(name, t+"/") {
			return fmt.Errorf("it is moved already with %s: %w", t, ErrInclude)
		}
		if strings.HasPrefix(t, name+"/") {
			return fmt.Errorf("it holds %s, which is moved already; name what else is in it: %w", t, ErrInclude)
		}
	}
	_, err := os.Lstat(filepath.Join(mount, name))
	return err
}

// Close has nothing to close.
func (s *Source) Close() error { return nil }

// Units lists the folders that are there, with their exact number of files and
// bytes at this moment.
func (s *Source) Units(ctx context.Context) ([]pipeline.Unit, error) {
	var units []pipeline.Unit
	for _, name := range s.names() {
		sum, err := s.sum(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		units = append(units, pipeline.Unit{Lane: pipeline.Files, Name: name, Records: sum.files, Bytes: sum.bytes})
	}
	return units, nil
}

// names are those of the units, in order.
func (s *Source) names() []string {
	all := layout.Units()
	if s.cfg.Units != nil {
		all = slices.DeleteFunc(all, func(name string) bool { return !slices.Contains(s.cfg.Units, name) })
	}
	return append(all, s.cfg.Include...)
}

// Read yields the part's files. What cannot be moved (a name that is too long
// or not UTF-8, a file that may not be read, a link that leads elsewhere) is in
// Refused. A unit that was not there at Open has no files; one that was, and is
// not there any more, is an error.
func (s *Source) Read(ctx context.Context, part pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Object], error] {
	return func(yield func(pipeline.Batch[*pipeline.Object], error) bool) {
		if after == "" {
			after = part.From
		}
		b := pipeline.Batch[*pipeline.Object]{Part: part, Prev: after}
		stopped, held := false, int64(0)
		flush := func() bool {
			full := b
			b, held = pipeline.Batch[*pipeline.Object]{Part: part, Prev: full.Next}, 0
			stopped = !yield(full, nil)
			return !stopped
		}
		w, err := s.open(part.Unit.Name)
		if err == nil {
			defer w.close()
		}
		missing := errors.Is(err, fs.ErrNotExist)
		if err == nil || missing {
			err = s.same(part.Unit.Name)
		}
		if err == nil && missing {
			return
		}
		if err == nil {
			w.after, w.to = decode(after), decode(part.To)
			err = w.walk(ctx, func(e entry) (bool, error) {
				o, refused, err := w.object(ctx, part.Unit, e)
				if err != nil || o == nil && refused == nil {
					return err == nil, err
				}
				b.Read++
				if refused != nil {
					b.Refused = append(b.Refused, *refused)
				} else {
					b.Records = append(b.Records, o)
					b.Bytes += max(o.Bytes, 1)
					held += int64(o.Size())
				}
				b.Next = encode(e.rel)
				if b.Read >= s.cfg.Limits.Records || max(b.Bytes, held) >= s.cfg.Limits.Bytes {
					return flush(), nil
				}
				return true, nil
			})
		}
		if stopped {
			return
		}
		if err != nil {
			yield(pipeline.Batch[*pipeline.Object]{Part: part, Prev: b.Prev}, classify("listing "+part.Unit.Name, err))
			return
		}
		if b.Read > 0 {
			flush()
		}
	}
}

// Get gives those of the named files that are there and can be read.
func (s *Source) Get(ctx context.Context, unit pipeline.Unit, keys []string) (map[string]*pipeline.Object, error) {
	out := make(map[string]*pipeline.Object, len(keys))
	w, err := s.open(unit.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, classify("opening "+unit.Name, err)
	}
	defer w.close()
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		rel, ok := w.relative(key)
		if !ok {
			continue
		}
		info, err := w.root.Lstat(rel)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && info.IsDir() {
			continue
		}
		if err != nil {
			return nil, classify("looking at "+key, err)
		}
		o, _, err := w.object(ctx, unit, entry{rel: rel, mode: info.Mode()})
		if err != nil {
			return nil, err
		}
		if o != nil {
			out[key] = o
		}
	}
	return out, nil
}
