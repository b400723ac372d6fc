// Package files writes files below a DATA_DIR on a local disk or a mounted
// share.
//
// A file is copied to a temporary name beside its place (which Open WebUI never
// looks at), hashed on the way, given the modification time of the source and
// the owner of the target folder, flushed to disk, closed and only then renamed;
// the folders of a batch are flushed before Write returns. So no crash leaves a
// half-written file under a name that Open WebUI reads, and neither does a share
// that says only at the flush or at the close that it is full.
//
// A file that is there already with the same bytes is left as it is. Another
// file of the same name is never overwritten unless Config.Replace is set: the
// record is refused with reason duplicate, because a target with files of its
// own is in use, and the migration must not decide which of the two is right.
package files

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	layout "outgrow/mappings/files"
	"outgrow/pipeline"
)

// Config says where to write.
type Config struct {
	// Mount is the target's DATA_DIR as it is reached from here. It must
	// exist: a folder made where a share is not mounted would fill the wrong
	// disk.
	Mount string
	// Owner is "USER", "USER:GROUP" or ":GROUP", by name or number; "" takes
	// the owner of Mount.
	Owner string
	// Replace overwrites files that differ.
	Replace bool
	// Files is how many files are written at a time by all parts together, 0
	// for 16; each has up to three open.
	Files int
}

// OwnerKept is the reason of the ledger line that says that the files keep the
// owner who wrote them, because this user may not give files away.
const OwnerKept pipeline.Reason = "owner"

// Vanished is the reason of the ledger line for a file that was removed from
// the source after it was listed.
const Vanished pipeline.Reason = "vanished"

// Sink writes below one DATA_DIR. It is safe for concurrent use.
type Sink struct {
	cfg      Config
	root     *os.Root
	uid, gid int // -1 leaves it
	run      string
	seq      atomic.Int64
	slots    chan struct{}
	told     atomic.Bool // that the owner cannot be set
	mu       sync.Mutex
	cleaned  map[string]bool
	// before is called before each step of writing a file; tests stop there.
	before func(step, name string)
	// wrap stands between the writer and a file that it makes; tests fail there.
	wrap func(*os.File) file
}

// file is a file being written.
type file interface {
	io.WriteCloser
	Chmod(mode fs.FileMode) error
	Chown(uid, gid int) error
	Stat() (fs.FileInfo, error)
	Sync() error
}

var (
	_ pipeline.Sink[*pipeline.Object] = (*Sink)(nil)
	_ pipeline.Checker                = (*Sink)(nil)
)

// Open looks at the target. It changes nothing. It fails with exit code 3 when
// the folder is not there, and with 2 for an owner that does not exist.
func Open(_ context.Context, cfg Config) (*Sink, error) {
	info, err := os.Stat(cfg.Mount)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "opening", Path: cfg.Mount, Err: errors.New("not a folder")}
	}
	if err != nil {
		return nil, pipeline.Environment("opening the target's data folder", err,
			"mount the shared folder, or create it with mkdir, and pass --to-mount where it is")
	}
	s := &Sink{cfg: cfg, cleaned: map[string]bool{}, before: func(string, string) {}, wrap: func(f *os.File) file { return f }}
	if s.uid, s.gid, err = owner(cfg.Owner, info); err != nil {
		return nil, pipeline.Usage("reading --chown", err, "give uid:gid in numbers")
	}
	if cfg.Files <= 0 {
		cfg.Files = 16
	}
	s.slots = make(chan struct{}, cfg.Files)
	id := make([]byte, 8)
	_, _ = rand.Read(id) // never fails
	s.run = hex.EncodeToString(id)
	if s.root, err = os.OpenRoot(cfg.Mount); err != nil {
		return nil, pipeline.Environment("opening the target's data folder", err, "let this user enter it")
	}
	return s, nil
}

// owner finds who the files are to belong to; -1 where the process's own is
// right already.
func owner(want string, folder fs.FileInfo) (uid, gid int, err error) {
	uid, gid = ids(folder)
	u, g, _ := strings.Cut(want, ":")
	if u != "" {
		if uid, err = strconv.Atoi(u); err != nil {
			found, err := user.Lookup(u)
			if err != nil {
				return 0, 0, err
			}
			uid, _ = strconv.Atoi(found.Uid)
			if g == "" {
				gid, _ = strconv.Atoi(found.Gid)
			}
		}
	}
	if g != "" {
		if gid, err = strconv.Atoi(g); err != nil {
			found, err := user.LookupGroup(g)
			if err != nil {
				return 0, 0, err
			}
			gid, _ = strconv.Atoi(found.Gid)
		}
	}
	if uid < -1 || gid < -1 {
		return 0, 0, fmt.Errorf("%q: %w", want, strconv.ErrRange)
	}
	return uid, gid, nil
}

// Close closes the folder. A second call is harmless.
func (s *Sink) Close() error { return s.root.Close() }

// Prepare removes what interrupted runs have left unfinished in the unit. It
// makes no folder: those come with their first file.
func (s *Sink) Prepare(ctx context.Context, unit pipeline.Unit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cleaned[unit.Name] {
		return nil
	}
	if err := s.clean(ctx, unit.Name); err != nil {
		return classify("removing what an earlier run has left in "+unit.Name, err)
	}
	s.cleaned[unit.Name] = true
	return nil
}

func (s *Sink) clean(ctx context.Context, dir string) error {
	info, err := s.root.Stat(dir)
	if err == nil && info.IsDir() {
		return s.cleanFolder(ctx, dir, true)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// A unit of a single file lies beside others.
	if err := s.cleanFolder(ctx, filepath.Dir(dir), false); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// temporary reports whether a name is one that this package gives to a file which
// it has not finished: prefix, run and number. A database that is being made in
// the same folder (sink/sqlite) has the prefix, too.
func temporary(name string) bool {
	rest, ok := strings.CutPrefix(name, layout.PartialPrefix)
	_, number, dashed := strings.Cut(rest, "-")
	_, err := strconv.ParseUint(number, 10, 64)
	return ok && dashed && err == nil
}

func (s *Sink) cleanFolder(ctx context.Context, dir string, below bool) error {
	mine := layout.PartialPrefix + s.run
	var stale, dirs []string
	err := s.list(ctx, dir, func(e fs.DirEntry) {
		switch n := e.Name(); {
		case e.IsDir() && below:
			dirs = append(dirs, filepath.Join(dir, n))
		case e.Type().IsRegular() && temporary(n) && !strings.HasPrefix(n, mine):
			stale = append(stale, filepath.Join(dir, n))
		}
	})
	if err != nil {
		return err
	}
	for _, n := range stale {
		if err := s.root.Remove(n); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, d := range dirs {
		if err := s.cleanFolder(ctx, d, true); err != nil {
			return err
		}
	}
	return nil
}

// SameFolder reports whether two paths are the same folder: the same device and
// inode, however they are reached. Moving files is then "in place": there is
// nothing to copy.
func SameFolder(a, b string) (bool, error) {
	x, err := os.Stat(a)
	if err != nil {
		return false, fmt.Errorf("looking at %s: %w", a, err)
	}
	y, err := os.Stat(b)
	if err != nil {
		return false, fmt.Errorf("looking at %s: %w", b, err)
	}
	return x.IsDir() && os.SameFile(x, y), nil
}
