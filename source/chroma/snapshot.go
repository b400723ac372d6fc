package chroma

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"outgrow/pipeline"
)

const (
	// idleRecords and idleIndexes bound the indexes kept for the next reader.
	idleRecords = 500_000
	idleIndexes = 16
	// bigCollection is from how many records on indexes are built one at a
	// time, so that what building needs is needed once.
	bigCollection = 100_000
)

// snapshot is one consistent view of the store: the database as it was copied,
// and the index files as they were then.
type snapshot struct {
	store    string // the folder with the segments
	private  string // folder of the copy, "" when read in place
	unlock   func() // of the copy
	db       *sql.DB
	dbState  dbState
	segments map[string]segmentState
	catalog  *catalog

	mu      sync.Mutex
	big     sync.Mutex
	indexes map[string]*sharedIndex // by collection id
	clock   int64
	refs    int // readers, and the source itself
}

// sharedIndex is an index that several readers may use at the same time.
type sharedIndex struct {
	ready chan struct{}
	x     *index
	err   error
	refs  int
	used  int64
}

// takeSnapshot copies the database, or opens it in place, together with the
// states of all index files, which must not change meanwhile.
func takeSnapshot(ctx context.Context, cfg Config) (*snapshot, error) {
	sn := &snapshot{store: cfg.Dir, indexes: map[string]*sharedIndex{}, refs: 1}
	if err := sn.take(ctx, cfg); err != nil {
		return nil, errors.Join(err, sn.close())
	}
	return sn, nil
}

func (sn *snapshot) take(ctx context.Context, cfg Config) (err error) {
	if sn.dbState, err = stateOfDB(cfg.Dir); err != nil {
		return pipeline.Environment("reading the Chroma store", err, "make the folder readable")
	}
	if cfg.Stopped && sn.dbState.quiet() {
		return sn.open(ctx, cfg.Dir)
	}
	if sn.private, sn.unlock, err = privateFolder(cfg.Private); err != nil {
		return pipeline.Environment("copying the Chroma database", err, "name a writable folder with --state")
	}
	wait := copyWait
	for attempt := 1; ; attempt++ {
		before, err := statesOfSegments(cfg.Dir)
		if err != nil {
			return err
		}
		if sn.dbState, err = copyDB(ctx, cfg.Dir, sn.private); err != nil {
			return err
		}
		sn.segments, err = statesOfSegments(cfg.Dir)
		if err != nil {
			return err
		}
		if sameStates(before, sn.segments) {
			break
		}
		if attempt == copyAttempts {
			return pipeline.Transient(&pipeline.Error{Op: "copying the Chroma database", Err: errMoved,
				Hint: "stop Open WebUI, or try again when nobody uploads files", Exit: pipeline.ExitEnvironment})
		}
		if err := pipeline.Sleep(ctx, wait); err != nil {
			return err
		}
		wait *= 2
	}
	if err := settle(ctx, sn.private); err != nil {
		return notChroma(err)
	}
	return sn.open(ctx, sn.private)
}

func (sn *snapshot) open(ctx context.Context, dir string) (err error) {
	if sn.segments == nil {
		if sn.segments, err = statesOfSegments(sn.store); err != nil {
			return err
		}
	}
	if sn.db, err = openImmutable(dir); err != nil {
		return err
	}
	sn.db.SetMaxIdleConns(4)
	if sn.catalog, err = loadCatalog(ctx, sn.db); err != nil && ctx.Err() == nil {
		return notChroma(err)
	}
	return err
}

// statesOfSegments looks at the index files of every folder of the store.
func statesOfSegments(store string) (map[string]segmentState, error) {
	entries, err := os.ReadDir(store)
	if err != nil {
		return nil, pipeline.Environment("reading the Chroma store", err, "make the folder readable")
	}
	states := map[string]segmentState{}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if states[e.Name()], err = stateOfSegment(filepath.Join(store, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, pipeline.Environment("reading the Chroma store", err, "make the folder readable")
		}
	}
	return states, nil
}

func sameStates(a, b map[string]segmentState) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || w != v {
			return false
		}
	}
	return true
}

// segmentState gives the state at the time of the copy; a folder that was not
// there then had no files.
func (sn *snapshot) segmentState(segment string) segmentState {
	if s, ok := sn.segments[segment]; ok {
		return s
	}
	var none segmentState
	for i := range none {
		none[i].size = -1
	}
	return none
}

// index gives the index of a collection; done must be called after use.
func (sn *snapshot) index(ctx context.Context, l *collection) (x *index, done func(), err error) {
	sn.mu.Lock()
	s := sn.indexes[l.id]
	mine := s == nil
	if mine {
		s = &sharedIndex{ready: make(chan struct{})}
		sn.indexes[l.id] = s
	}
	s.refs++
	sn.mu.Unlock()
	if mine {
		if l.records >= bigCollection {
			sn.big.Lock()
			s.x, s.err = sn.buildIndex(ctx, l)
			sn.big.Unlock()
		} else {
			s.x, s.err = sn.buildIndex(ctx, l)
		}
		if s.err != nil {
			sn.mu.Lock()
			delete(sn.indexes, l.id)
			sn.mu.Unlock()
		}
		close(s.ready)
	}
	select {
	case <-s.ready:
	case <-ctx.Done():
		sn.release(s)
		return nil, nil, ctx.Err()
	}
	if s.err != nil {
		sn.release(s)
		if !mine && ctx.Err() == nil && errors.Is(s.err, context.Canceled) {
			return sn.index(ctx, l) // the other reader gave up, not this one
		}
		return nil, nil, s.err
	}
	return s.x, func() { sn.release(s) }, nil
}

// release gives an index back and drops the idle ones that were used longest
// ago.
func (sn *snapshot) release(s *sharedIndex) {
	sn.mu.Lock()
	defer sn.mu.Unlock()
	s.refs--
	sn.clock++
	s.used = sn.clock
	for {
		var oldest *sharedIndex
		var id string
		idle, records := 0, 0
		for k, i := range sn.indexes {
			if i.refs > 0 || i.x == nil {
				continue
			}
			idle, records = idle+1, records+len(i.x.records)
			if oldest == nil || i.used < oldest.used {
				oldest, id = i, k
			}
		}
		if idle <= idleIndexes && (records <= idleRecords || idle <= 1) {
			return
		}
		oldest.x.close()
		delete(sn.indexes, id)
	}
}

// close ends the snapshot and removes the private copy.
func (sn *snapshot) close() error {
	var errs []error
	for _, s := range sn.indexes {
		s.x.close()
	}
	if sn.db != nil {
		errs = append(errs, sn.db.Close())
	}
	if sn.private != "" {
		errs = append(errs, os.RemoveAll(sn.private))
		sn.unlock()
	}
	return errors.Join(errs...)
}
