package sqlite

import (
	"context"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"outgrow/pipeline"
)

// Reasons of this package's findings.
const (
	NoSpace  pipeline.Reason = "space"
	ReadOnly pipeline.Reason = "not-writable"
	Volatile pipeline.Reason = "volatile"
)

// reserve is what is left free beside the database, in bytes: its log and the
// sorting of indexes.
const reserve = 256 << 20

// Check looks at the target's folder. It changes nothing. Units are not compared
// with the target's tables: see [Sink.Columns].
func (s *Sink) Check(ctx context.Context, units []pipeline.Unit) ([]pipeline.Finding, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, _, err := s.inspect(ctx)
	if err != nil {
		return nil, classify("checking the target", err)
	}
	var out []pipeline.Finding
	if f := s.refuse(t, s.cfg.Replace); f != nil {
		out = append(out, *f)
	}
	switch t.State {
	case NoFolder:
		return out, nil
	case InUse, Foreign:
		if s.cfg.Replace {
			out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: "replace", Text: s.replacing(t), Fix: "leave out --replace to keep it where it is"})
		}
	case Ours, Renamed:
		out = append(out, pipeline.Finding{Severity: pipeline.Note, Reason: "resume", Text: "an earlier run is under way on this target and will be resumed"})
	case Released:
		return append(out, pipeline.Finding{Severity: pipeline.Note, Reason: "complete", Text: "an earlier run has finished on this target"}), nil
	}
	dir := filepath.Dir(s.path)
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: ReadOnly, Text: fmt.Sprintf("the folder %s cannot be written to: %v", dir, err),
			Fix: "run as a user that may, or mount it for writing"})
	}
	if on, err := s.cfg.FileSystem.Or()(s.path); err == nil && on.Volatile() {
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: Volatile, Text: "the target's folder lies in memory (" + on.String() + "): it is gone when the machine is restarted",
			Fix: "name a folder on a disk"})
	}
	if t.State != Ours && t.State != Renamed {
		f, err := space(dir, units)
		if err != nil {
			return nil, classify("asking for the target's free space", err)
		}
		out = append(out, f...)
	}
	return out, nil
}

// space compares the source's rows with what is free; indexes and half-filled
// pages take about a quarter more.
func space(dir string, units []pipeline.Unit) ([]pipeline.Finding, error) {
	var need int64
	for _, u := range units {
		if u.Lane == pipeline.Rows {
			need += max(u.Bytes, 0)
		}
	}
	need += need/4 + reserve
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	free := int64(st.Bavail) * int64(st.Bsize) //nolint:gosec,unconvert // types differ between machines
	if need <= free {
		return nil, nil
	}
	return []pipeline.Finding{{Severity: pipeline.Refuse, Reason: NoSpace, Text: fmt.Sprintf("the database needs about %d bytes, the target's disk has %d free", need, free),
		Fix: fmt.Sprintf("free %d bytes more on it", need-free)}}, nil
}
