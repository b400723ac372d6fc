package sqlite

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"outgrow/pipeline"
)

// Identity gives alembic head and the id of the first user (Stable), and size, mtime,
// WAL salts and number of committed frames (State) as they were just before
// the snapshot was taken.
func (s *Source) Identity(context.Context) (pipeline.Identity, error) { return s.identity, nil }

// StateNow is Identity's State at this moment: equal to it as long as nobody
// wrote.
func (s *Source) StateNow() (string, error) {
	s.revalidate()
	st, err := stampOf(s.path)
	return st.String(), err
}

// Head is the alembic revision of the database.
func (s *Source) Head(ctx context.Context) (string, error) { return s.head(ctx) }

func (s *Source) head(ctx context.Context) (string, error) {
	var heads []string
	err := s.each(ctx, "SELECT version_num FROM alembic_version", func(v []any) error {
		heads = append(heads, asText(v[0]))
		return nil
	})
	if err != nil {
		return "", err
	}
	if len(heads) != 1 || heads[0] == "" {
		return "", pipeline.Usage("reading the schema version of "+s.path, fmt.Errorf("alembic_version has %d rows where one is expected", len(heads)),
			"start the release of Open WebUI that the database belongs to once, then stop it")
	}
	return heads[0], nil
}

// firstUser is the oldest account: Open WebUI lets nobody delete that one.
func (s *Source) firstUser(ctx context.Context) (string, error) {
	id, order := "", "id"
	if s.table("user").has("created_at") {
		order = "created_at, id"
	}
	err := s.each(ctx, `SELECT id FROM "user" ORDER BY `+order+` LIMIT 1`, func(v []any) error {
		id = asText(v[0])
		return nil
	})
	return id, err
}

// stamp is the state of the files: it changes whenever the content may have.
type stamp struct {
	size, mtime       int64
	walSize, walMtime int64
	salts             uint64
	frames            int64 // up to the last commit
}

func (s stamp) String() string {
	return fmt.Sprintf("db %d@%d wal %016x/%d", s.size, s.mtime, s.salts, s.frames)
}

// stampOf opens the -wal and never the database: SQLite takes no locks on the
// -wal, so closing it is harmless.
func stampOf(path string) (stamp, error) {
	st, err := statOf(path)
	if err != nil || st.walSize == 0 {
		return st, err
	}
	f, err := os.Open(path + "-wal")
	if errors.Is(err, os.ErrNotExist) {
		return st, nil
	}
	if err != nil {
		return st, err
	}
	defer f.Close()
	st.salts, st.frames = walFrames(f)
	return st, nil
}

// statOf is stampOf without looking into the -wal.
func statOf(path string) (stamp, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	st := stamp{size: fi.Size(), mtime: fi.ModTime().UnixNano()}
	switch fi, err := os.Stat(path + "-wal"); {
	case err == nil:
		st.walSize, st.walMtime = fi.Size(), fi.ModTime().UnixNano()
	case !errors.Is(err, os.ErrNotExist):
		return st, err
	}
	return st, nil
}

// walFrames reads the salts of a -wal and counts its frames with these salts
// up to the last commit. Format: https://www.sqlite.org/fileformat.html
// section 4.1.
func walFrames(f *os.File) (salts uint64, committed int64) {
	var h [walHeader]byte
	if _, err := f.ReadAt(h[:], 0); err != nil {
		return 0, 0
	}
	page := int64(binary.BigEndian.Uint32(h[8:]))
	salts = binary.BigEndian.Uint64(h[16:])
	if page < 512 || page > 65536 {
		return salts, 0
	}
	var frame [frameHeader]byte
	for n := int64(0); ; n++ {
		if _, err := f.ReadAt(frame[:], walHeader+n*(frameHeader+page)); err != nil || binary.BigEndian.Uint64(frame[8:]) != salts {
			return salts, committed
		}
		if binary.BigEndian.Uint32(frame[4:]) != 0 {
			committed = n + 1
		}
	}
}

// revalidate makes a network file system ask its server for the size and times
// of the files, which it keeps for up to a minute otherwise: it does that when a
// file is opened (close-to-open, nfs(5)). Only without locks, which closing the
// file would drop.
func (s *Source) revalidate() {
	if s.mode != Stopped || !s.shared {
		return
	}
	for _, suffix := range []string{"", "-wal"} {
		if f, err := os.Open(s.path + suffix); err == nil {
			_ = f.Close()
		}
	}
}

// quiet makes sure that nobody has written since the files were opened
// without locks, or with locks that may not reach other machines; what was read
// before is then untouched.
func (s *Source) quiet() error {
	if s.mode != Stopped && !s.shared {
		return nil
	}
	s.revalidate()
	now, err := statOf(s.path)
	if err != nil {
		return pipeline.Environment("looking at "+s.path, err, "")
	}
	f := s.first
	if now.size != f.size || now.mtime != f.mtime || now.walSize != f.walSize || now.walMtime != f.walMtime {
		hint := "nothing is lost; run the same command again, it goes on while Open WebUI runs"
		if s.shared {
			hint = "nothing is lost; stop Open WebUI on every machine, then run the same command again"
		}
		return pipeline.Environment("reading "+s.path, ErrStarted, hint)
	}
	return nil
}

// ErrStarted says that a source which was read as stopped has been written to.
var ErrStarted = errors.New("the database was in no use when it was opened, and is being written now")
