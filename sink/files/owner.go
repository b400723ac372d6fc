package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"outgrow/pipeline"
)

// ids gives a file's owner and group.
func ids(info fs.FileInfo) (uid, gid int) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid), int(st.Gid)
	}
	return -1, -1
}

// chown gives the file to the target's owner. Where this user may not, or the
// share does as if, one line in the ledger says so for the whole run.
func (w *writer) chown(f file, name string) (*pipeline.Change, error) {
	owned, err := w.owned(f)
	if err != nil || owned {
		return nil, err
	}
	switch err := f.Chown(w.uid, w.gid); {
	case err == nil:
		if owned, err = w.owned(f); err != nil || owned {
			return nil, err
		}
	case !keepsOwner(err):
		return nil, err
	}
	if w.told.Swap(true) {
		return nil, nil
	}
	return &pipeline.Change{Unit: w.unit.ID(), Key: name, Column: "owner", Reason: OwnerKept,
		Before: pipeline.Digest(fmt.Sprintf("%d:%d", w.uid, w.gid)), After: "null",
		Note: fmt.Sprintf("this user may not give files to %d:%d; they keep the owner who wrote them, here and in what follows: chown them if Open WebUI runs as %d", w.uid, w.gid, w.uid)}, nil
}

// owned reports whether the file has the owner that it is to have.
func (w *writer) owned(f file) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	uid, gid := ids(info)
	return (w.uid < 0 || uid == w.uid) && (w.gid < 0 || gid == w.gid), nil
}

// keepsOwner reports whether an error of chown says that files cannot be given
// away here: root is nobody on an NFS server (root_squash, EPERM), the share has
// no owners, or does not know this one (EINVAL).
func keepsOwner(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL)
}

// ownerFindings tells beforehand what can be known of that: only root gives
// files away, and others only to their own groups.
func (s *Sink) ownerFindings() []pipeline.Finding {
	me := os.Geteuid()
	if me <= 0 || s.uid < 0 || s.uid == me {
		return nil
	}
	return []pipeline.Finding{{Severity: pipeline.Warn, Reason: OwnerKept,
		Text: fmt.Sprintf("the files are to belong to %d:%d, but this user (%d) may not give files away: they will belong to %[3]d", s.uid, s.gid, me),
		Fix:  fmt.Sprintf("run as root, or chown them before Open WebUI, as %d, is started", s.uid)}}
}
