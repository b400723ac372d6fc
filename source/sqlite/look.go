package sqlite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"outgrow/mappings/fstype"
	"outgrow/pipeline"
)

// Sight is what is seen of a database without opening it.
type Sight struct {
	// State is as Identity's: size, mtime, salts and committed frames of the
	// -wal. It changes with every commit, as PRAGMA data_version would tell on a
	// connection; but opening one would leave a -shm behind.
	State string
	// InUse: another process has the database open for writing.
	InUse bool
	// Wrote is when it was last written to.
	Wrote time.Time
}

// Look looks at a database from outside. It must not be called while this
// process has it open: closing its files would drop SQLite's locks. A nil detect
// is fstype.Of.
func Look(path string, detect fstype.Detect) (Sight, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	on, err := detect.Or()(path)
	if err != nil {
		return Sight{}, pipeline.Environment("looking at the file system of "+path, err, "")
	}
	if on.Network() { // see revalidate
		if f, err := os.Open(path); err == nil {
			_ = f.Close()
		}
	}
	st, err := stampOf(path)
	if err != nil {
		return Sight{}, pipeline.Environment("looking at "+path, err, "see that the source's DATA_DIR is there")
	}
	u := inUse(path)
	u.certain = u.certain && !on.Network()
	return Sight{State: st.String(), InUse: u.live(), Wrote: time.Unix(0, max(st.mtime, st.walMtime))}, nil
}

// Waiting counts what Open WebUI is still working on: files by status (pending,
// processing) and chat messages that are not done, all changed since the given
// time. Older ones were left behind and will not be finished.
func (s *Source) Waiting(ctx context.Context, since time.Time) (files map[string]int64, messages int64, err error) {
	if t := s.table("file"); t != nil && t.has("data") && t.has("updated_at") {
		if files, err = s.unprocessed(ctx, fmt.Sprintf("updated_at >= %d", since.Unix())); err != nil {
			return nil, 0, openError(s.path, err)
		}
	}
	if t := s.table("chat_message"); t != nil && t.has("done") && t.has("updated_at") {
		messages, err = s.number(ctx, fmt.Sprintf(`SELECT count(*) FROM "chat_message" WHERE done = 0 AND updated_at >= %d`, since.Unix()))
		if err != nil {
			return nil, 0, openError(s.path, err)
		}
	}
	return files, messages, nil
}
