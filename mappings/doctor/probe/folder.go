package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"outgrow/mappings/doctor"
	"outgrow/mappings/env"
)

// flushes is how often a flushed write is measured.
const flushes = 5

// folder looks at DATA_DIR, and at where webui.db lies.
func (p *prober) folder() *doctor.Folder {
	out := &doctor.Folder{Server: doctor.Server{Name: "DATA_DIR", Kind: "DATA_DIR"}, Path: p.d.Mount}
	if err := p.d.CheckMount(); err != nil {
		out.Down = p.d.Redact(err.Error())
		return out
	}
	t, err := p.FileSystem.Or()(p.d.Mount)
	if err != nil {
		out.Down = "the file system of " + p.d.Mount + " cannot be told: " + err.Error()
		return out
	}
	out.Type, out.Network, out.Volatile = t.String(), t.Network(), t.Volatile()
	if out.Fsync, err = tryFolder(p.d.Mount); err != nil {
		out.Write = err.Error()
	}
	if p.d.Database.Kind != env.SQLite || p.d.Database.Path == "" {
		return out
	}
	if t, err = p.FileSystem.Or()(p.d.Database.Path); err == nil {
		out.Database, out.DatabaseShared = t.String(), !t.SQLite()
	}
	_, err = os.Stat(p.d.Database.Path)
	wal, walErr := os.Stat(p.d.Database.Path + "-wal")
	out.Stray = errors.Is(err, fs.ErrNotExist) && walErr == nil && wal.Size() > 0
	return out
}

// tryFolder writes a file of its own some times, flushes it each time, and
// removes it.
func tryFolder(dir string) (took time.Duration, err error) {
	f, err := os.CreateTemp(dir, "."+probeName+"*")
	if err != nil {
		return 0, fmt.Errorf("a file cannot be made: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	var times []time.Duration
	for range flushes {
		began := time.Now()
		if _, err := f.WriteAt(make([]byte, 4096), 0); err != nil {
			return 0, errors.Join(err, f.Close())
		}
		if err := f.Sync(); err != nil {
			return 0, errors.Join(err, f.Close())
		}
		times = append(times, time.Since(began))
	}
	return median(times), f.Close()
}
