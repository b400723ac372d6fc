package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	layout "outgrow/mappings/files"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

// ErrChanged is what a reader ends with when the file changed under it. It is
// transient: the file is to be read again from its start.
var ErrChanged = errors.New("the file changed while it was read")

// object makes a record of an entry, or refuses it. Both are nil for what is no
// record: a file that is gone since, a socket or a device.
func (w *walker) object(ctx context.Context, unit pipeline.Unit, e entry) (*pipeline.Object, *pipeline.Refusal, error) {
	reason, detail, info, err := w.inspect(e)
	if err != nil || reason == special || info == nil && reason == "" {
		return nil, nil, err
	}
	o := &pipeline.Object{Name: w.name(e.rel)}
	if info != nil {
		o.Bytes, o.ModTime = info.Size(), info.ModTime()
	}
	if reason != "" {
		o.Name = layout.Printable(o.Name)
		r := pipeline.NewRefusal(unit, o, "", reason, detail)
		return nil, &r, nil
	}
	// Open outlives the walker: it opens the root itself.
	s, name, rel := w.s, w.unit, e.rel
	o.Open = func(context.Context) (io.ReadCloser, error) {
		r, err := s.reader(name, rel)
		if errors.Is(err, fs.ErrNotExist) {
			if gone := s.same(name); gone != nil {
				err = gone
			}
		}
		return r, err
	}
	if w.s.cfg.Hash {
		sum, err := Hash(ctx, o)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		o.SHA256 = sum
	}
	return o, nil, nil
}

// special marks what is neither file nor folder nor link.
const special pipeline.Reason = "special-file"

// inspect finds out whether an entry can be moved; info is nil when it is gone.
func (w *walker) inspect(e entry) (reason pipeline.Reason, detail string, info fs.FileInfo, err error) {
	if e.err != nil {
		return pipeline.Unreadable, "the folder may not be listed", nil, nil
	}
	link := e.mode&fs.ModeSymlink != 0
	if link {
		// Followed only inside the unit's folder.
		info, err = w.root.Stat(e.rel)
	} else {
		info, err = w.root.Lstat(e.rel)
	}
	switch {
	case link && err != nil:
		return pipeline.Unreadable, "a link that leads out of the folder, or nowhere, is not followed", nil, nil
	case errors.Is(err, fs.ErrNotExist):
		return "", "", nil, nil
	case errors.Is(err, fs.ErrPermission):
		return pipeline.Unreadable, "it may not be looked at", nil, nil
	case err != nil:
		return "", "", nil, classify("looking at "+w.name(e.rel), err)
	case link && info.IsDir():
		return pipeline.Unreadable, "a link to a folder is not followed", info, nil
	case !info.Mode().IsRegular():
		return special, "neither a file nor a folder", info, nil
	}
	if reason, detail := layout.Unfit(e.rel); reason != "" {
		return reason, detail, info, nil
	}
	if err := w.access(e.rel, info); errors.Is(err, fs.ErrPermission) {
		return pipeline.Unreadable, "it may not be read", info, nil
	}
	return "", "", info, nil
}

// access tells by the mode alone whether the file is plainly closed to this
// user, and tries to open it only then.
func (w *walker) access(rel string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o444 == 0o444 {
		return nil
	}
	f, err := openQuietly(w.root, rel)
	if err != nil {
		return err
	}
	return f.Close()
}

// same fails when the unit's folder is another one than at Open, or gone.
func (s *Source) same(unit string) error {
	was := s.folders[unit]
	if was == nil {
		return nil
	}
	now, err := os.Stat(filepath.Join(s.cfg.Mount, unit))
	if err == nil && os.SameFile(was, now) {
		return nil
	}
	return gone("reading "+unit, ErrFolderGone)
}

// reader opens a file of a unit.
func (s *Source) reader(unit, rel string) (io.ReadCloser, error) {
	w, err := s.open(unit)
	if err != nil {
		return nil, s.failing("opening "+unit, err)
	}
	defer w.close()
	return w.reader(rel)
}

// reader opens a file and watches it.
func (w *walker) reader(rel string) (io.ReadCloser, error) {
	f, err := openQuietly(w.root, rel)
	if err != nil {
		return nil, w.s.failing("opening "+w.name(rel), err)
	}
	info, err := f.Stat()
	if err != nil {
		err = w.s.failing("looking at "+w.name(rel), err)
	} else if !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", w.name(rel), ErrChanged)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &watched{s: w.s, f: f, size: info.Size(), mtime: info.ModTime()}, nil
}

// watched is a file that must be at its end what it was at its beginning.
type watched struct {
	s     *Source
	f     *os.File
	size  int64
	mtime time.Time
	read  int64
}

func (r *watched) Read(p []byte) (int, error) {
	n, err := r.f.Read(p)
	r.read += int64(n)
	if !errors.Is(err, io.EOF) {
		if err != nil {
			err = r.s.failing("reading", err)
		}
		return n, err
	}
	info, serr := r.f.Stat()
	switch {
	case serr != nil:
		return n, r.s.failing("reading", serr)
	case r.read != r.size || info.Size() != r.size || !info.ModTime().Equal(r.mtime):
		return n, pipeline.Transient(ErrChanged)
	}
	return n, io.EOF
}

// ReadAt reads at any place, and again; only Read watches the file.
func (r *watched) ReadAt(p []byte, at int64) (int, error) {
	n, err := r.f.ReadAt(p, at)
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.s.failing("reading", err)
	}
	return n, err
}

func (r *watched) Close() error { return r.f.Close() }

// Hash reads the object and gives the SHA-256 of its content in lower-case
// hexadecimal.
func Hash(ctx context.Context, o *pipeline.Object) (string, error) {
	sums, err := objects.Digest(ctx, o, objects.SHA256)
	return sums.SHA256, err
}

// Equal compares two files by size and by content: it reads both.
func Equal(ctx context.Context, u pipeline.Unit, want, got *pipeline.Object) ([]pipeline.Field, error) {
	return objects.Equal(true)(ctx, u, want, got)
}

// classify tells a file that cannot be read from a mount that is gone for all of
// them, and may come back.
func classify(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		return pipeline.Transient(fmt.Errorf("%s: %w", op, err))
	case lost(err):
		return gone(op, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// lost reports whether an error is that of a share whose server does not answer:
// of NFS, SMB or FUSE (ENOTCONN: its program has ended).
func lost(err error) bool {
	for _, e := range []syscall.Errno{syscall.ESTALE, syscall.ETIMEDOUT, syscall.ENOTCONN, syscall.ESHUTDOWN, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func gone(op string, err error) error {
	return pipeline.Transient(pipeline.Environment(op, err, "see that the source's share is mounted and its server answers, then run the same command"))
}

// failing is classify for the content of a file. On a share that gives up after
// a while ("soft") a server that does not answer is EIO, which on a disk of this
// machine is one bad file.
func (s *Source) failing(op string, err error) error {
	if errors.Is(err, syscall.EIO) && s.fs.Network() {
		return gone(op, err)
	}
	return classify(op, err)
}
