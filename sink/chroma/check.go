package chroma

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"outgrow/mappings/chromahttp"
	"outgrow/pipeline"
)

// Reasons of the findings.
const (
	InUse    pipeline.Reason = "in-use"
	ReadOnly pipeline.Reason = "not-writable"
	NoSpace  pipeline.Reason = "space"
	Owner    pipeline.Reason = "owner"
)

const inUseFix = "name an empty data folder, move the folder vector_db away, or say --replace to delete what is there"

// Check looks for a store that is there already, for names that Chroma refuses,
// for room, and for what this user may not do.
func (s *Sink) Check(ctx context.Context, units []pipeline.Unit) (out []pipeline.Finding, err error) {
	var need int64
	for _, u := range units {
		need += Disk(u.Records, u.Bytes)
		if problem := chromahttp.NameProblem(u.Name); problem != "" {
			out = append(out, pipeline.Finding{Severity: pipeline.Accept, Reason: chromahttp.CollectionName, Unit: u.ID(), Count: u.Records,
				Text: fmt.Sprintf("%s cannot be a collection: %s", u.Title(), problem),
				Fix:  "rename it at the source, or leave its records in the quarantine with --accept " + string(chromahttp.CollectionName)})
		}
	}
	ours, err := s.number(ctx)
	if err != nil {
		return nil, err
	}
	for _, file := range []string{s.final(), s.partial()} {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
			continue
		}
		n, number, err := held(ctx, file)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		text := fmt.Sprintf("%s holds %d records", file, n)
		switch {
		case err != nil:
			text = fmt.Sprintf("%s is there, and cannot be looked into: %v", file, err)
		case n == 0 && (file == s.partial() || ours != 0 && number == ours):
			continue // it is made anew, or gone on with
		}
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: InUse, Count: n, Text: text, Fix: inUseFix})
		need = max(0, need-size(file))
	}
	return append(out, s.room(need)...), nil
}

// Disk estimates the bytes that so many records of that size need at most, while
// the indexes are made included. Measured: a record of 600 bytes of text, ten
// metadata keys and 768 dimensions, 4.1 KB as a pipeline.Vector, needs 8.5 KB, and
// while the largest index is sorted 0.8 KB more.
func Disk(records, bytes int64) int64 { return 3*max(0, bytes) + 512*max(0, records) }

// reserve is what is left free beside the store, in bytes.
const reserve = 64 << 20

func (s *Sink) room(need int64) (out []pipeline.Finding) {
	at := s.cfg.Dir
	if _, err := os.Stat(at); err != nil {
		at = filepath.Dir(at)
	}
	if unix.Access(at, unix.W_OK|unix.X_OK) != nil {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: ReadOnly, Text: "this user may not write to " + at, Fix: "run as its owner, or mount it for writing"})
	}
	var fsys unix.Statfs_t
	if unix.Statfs(at, &fsys) == nil {
		if free := int64(fsys.Bavail) * int64(fsys.Bsize); need > 0 && need+reserve > free { //nolint:unconvert // types differ between systems
			out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: NoSpace,
				Text: fmt.Sprintf("the vectors need about %d bytes, the target's disk has %d free", need, free), Fix: fmt.Sprintf("free %d bytes more on it", need+reserve-free)})
		}
	}
	var st unix.Stat_t
	if me := os.Geteuid(); unix.Stat(filepath.Dir(s.cfg.Dir), &st) == nil && me > 0 && me != int(st.Uid) {
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: Owner,
			Text: fmt.Sprintf("the store will belong to user %d, the data folder belongs to %d", me, st.Uid),
			Fix:  fmt.Sprintf("run as that user, or chown -R %d %s afterwards: Open WebUI must be able to write to it", st.Uid, s.cfg.Dir)})
	}
	return out
}

func size(file string) int64 {
	info, err := os.Stat(file)
	if err != nil {
		return 0
	}
	return info.Size()
}

// errLive is returned for a database that looking at would change.
var errLive = errors.New("it has a write-ahead log")

// held counts the records of a store, whoever made it, and reads its number.
func held(ctx context.Context, file string) (records, number int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, 0, err
	}
	var head [20]byte
	_, err = io.ReadFull(f, head[:])
	if err = errors.Join(err, f.Close()); err != nil {
		if errors.Is(err, io.EOF) {
			err = nil // nothing was committed yet
		}
		return 0, 0, err
	}
	if head[18] != 1 || head[19] != 1 {
		return 0, 0, errLive
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: file, RawQuery: "mode=ro&_pragma=busy_timeout(2000)"}).String())
	if err != nil {
		return 0, 0, err
	}
	defer db.Close()
	if err = db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&number); err != nil {
		return 0, 0, err
	}
	var tables int
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE name = 'embeddings'").Scan(&tables)
	if err == nil && tables > 0 {
		err = db.QueryRowContext(ctx, "SELECT count(*) FROM embeddings").Scan(&records)
	}
	return records, number, err
}

// Empty deletes the store, the partial one too, and Chroma's index folders. It
// refuses a store in which another tenant or database has collections.
func (s *Sink) Empty(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	const op = "emptying the Chroma store"
	if err := s.drop(); err != nil {
		return s.failed(ctx, op, err)
	}
	if _, err := os.Stat(s.final()); err == nil {
		others, err := s.others(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return pipeline.Environment(op, fmt.Errorf("%s cannot be looked into: %w", s.final(), err), "move the folder "+s.cfg.Dir+" away, then run the same command")
		}
		if others > 0 {
			return pipeline.Usage(op, fmt.Errorf("%s has %d collections in other tenants or databases than %s/%s", s.final(), others, s.cfg.Store.Tenant, s.cfg.Store.Database),
				"move the folder "+s.cfg.Dir+" away, or name an empty data folder")
		}
	}
	return s.failed(ctx, op, s.empty())
}

func (s *Sink) others(ctx context.Context) (n int64, err error) {
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: s.final(), RawQuery: "_pragma=busy_timeout(2000)"}).String())
	if err != nil {
		return 0, err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM collections c JOIN databases d ON d.id = c.database_id WHERE d.tenant_id <> ? OR d.name <> ?", s.cfg.Store.Tenant, s.cfg.Store.Database).Scan(&n)
	return n, err
}

func (s *Sink) empty() error {
	entries, err := os.ReadDir(s.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	// The database first: index folders without it mean nothing.
	for _, suffix := range []string{"-wal", "-shm", "-journal", ""} {
		if err := os.Remove(s.final() + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, e := range entries {
		if _, err := uuid.Parse(e.Name()); err != nil || !e.IsDir() || strings.ToLower(e.Name()) != e.Name() {
			continue
		}
		if err := removeSegment(filepath.Join(s.cfg.Dir, e.Name())); err != nil {
			return err
		}
	}
	return s.removePartial()
}

// segmentFiles are what Chroma keeps in the folder of an index.
func segmentFiles() []string {
	return []string{"header.bin", "data_level0.bin", "length.bin", "link_lists.bin", "index_metadata.pickle"}
}

// removeSegment removes the folder of an index, if nothing else is in it.
func removeSegment(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains(segmentFiles(), e.Name()) {
			return nil
		}
	}
	for _, e := range entries {
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return os.Remove(dir)
}
