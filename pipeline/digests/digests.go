// Package digests remembers on disk what a target holds: the digest of every
// record as it was last written there, by unit and key. A sync pass compares the
// source with it instead of reading the target.
//
// It is a log of keys and digests in the order in which they were kept, which is
// that in which a pass meets the records again, and an index by the keys' hashes
// that a process keeps for the next one, which otherwise makes it anew. The log may be
// lost or fall behind: whoever uses it then compares with the target once more. What a
// process wrote before it was killed is there; what it wrote before the machine stopped
// may not be, so the log is not believed then, unless that process had come to its end.
//
// Beside the digest of what was written there may be the origin, of what that was
// made of: with it a record that has not changed need not be made again. Origins
// belong to the rules by which records are made; under other rules they are not
// believed, while what the target holds is known as before.
//
// In memory it needs at most 32 MiB for the index, which is on disk when it is
// larger (from about 1.5 million records; it is not kept then), half a megabyte, half
// as much for every part that is being read, and two bits for 16 bytes of the log:
// less than 2 MB for a million records.
package digests

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/zeebo/xxh3"

	"outgrow/pipeline"
)

// memory is how many bytes of the index may be in memory.
const memory = 32 << 20

const hint = "pass --state DIR, a folder that this user may write to, outside of the source"

// Store is the digests of one lane. It is safe for concurrent use; one process
// may write at a time, which the lane's journal sees to.
type Store struct {
	dir, name, run, boot string
	rules                string
	memory               int64
	hashes               uint64 // the seed of the keys' hashes

	view    atomic.Pointer[view] // nil while there is none
	mu      sync.Mutex
	file    *os.File    // nil before anything was written
	opened  os.FileInfo // the file when it was opened, nil where there was none
	size    int64       // of the log, as far as it is good
	writing bool        // begun stands at the log's end, ended does not
	loading bool        // what is asked for lies anywhere
	synced  bool        // all that was written is durable
	old     bool        // the log is one of oldMagic
	broken  error       // the index does not fit the log any more
	lost    error
	units   map[string]*unit
	byID    map[uint64]*unit
	nextID  uint64
	index   *index
	windows windows
	gone    marks // entries that another stands for, or none
	seen    marks // entries of keys that were met in this pass
	live    int64 // entries that stand for a key
	dead    int64 // entries that do not
	seed    uint64
	memoAt  int64 // the memo that there is tells of so many bytes of the log
	ruledAt int64 // the origins behind it are of the rules of now, and of this seed
}

// unit is what is known of a unit.
type unit struct {
	id                uint64
	name              string
	all, held, unseen int64
	whole             bool
	blocks            []int64 // where they are in the log
}

// Open opens DIR/digests.db, and makes it at the first write where it is missing.
// What was remembered for another run is forgotten, and so is what is damaged.
// rules name all that has a say in what becomes of the source's records, besides
// these: origins that were kept under others are not believed.
func Open(_ context.Context, dir, run, rules string) (*Store, error) {
	s, err := open(dir, run, rules, bootID(), memory)
	if err != nil {
		return nil, pipeline.Environment("opening the digests", err, hint)
	}
	return s, nil
}

// Has reports whether DIR holds a file of digests, whoever's.
func Has(dir string) bool {
	_, err := os.Lstat(nameIn(dir))
	return err == nil
}

func nameIn(dir string) string { return filepath.Join(dir, "digests.db") }

func open(dir, run, rules, boot string, memory int64) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, name: nameIn(dir), run: run, rules: rules, boot: boot, memory: memory}
	err := s.empty()
	if err == nil {
		err = s.load()
	}
	if err == nil {
		return s, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		s.lost = err
	}
	// Whatever is wrong with it, it can be made again.
	if info, serr := os.Lstat(s.name); serr == nil && !info.Mode().IsRegular() || errors.Is(err, os.ErrPermission) {
		return nil, errors.Join(err, s.Close())
	}
	return s, errors.Join(s.release(), s.empty())
}

// Lost says why what the file held is not believed; nil when it is, or when there
// was no file. Whoever uses the digests then compares with the target once more.
func (s *Store) Lost() error { return s.lost }

// Current reports whether the file is as it was when it was opened, by name, length
// and time: no other process has written to it since. It is for a store that has
// not written itself.
func (s *Store) Current() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := os.Lstat(s.name)
	if s.file == nil || s.opened == nil {
		return s.broken == nil && errors.Is(err, os.ErrNotExist)
	}
	return s.broken == nil && err == nil && os.SameFile(s.opened, now) && s.opened.Size() == now.Size() && s.opened.ModTime().Equal(now.ModTime())
}

// empty forgets all.
func (s *Store) empty() (err error) {
	s.units, s.byID, s.nextID, s.size, s.memoAt, s.live, s.dead = map[string]*unit{}, map[uint64]*unit{}, 1, 0, 0, 0, 0
	s.seed, s.ruledAt, s.old, s.hashes = rand.Uint64(), never, false, rand.Uint64()
	s.windows, s.gone, s.seen = windows{}, marks{}, marks{}
	s.view.Store(nil)
	s.index, err = newIndex(s.dir, s.memory, firstBits)
	return err
}

// expect makes the index, which is empty, large enough for the entries that a log
// of so many bytes may hold, as far as that is in memory.
func (s *Store) expect(bytes int64) error {
	const least = 64 // bytes of an entry
	bits := uint(firstBits)
	for 3<<bits < bytes/least*4 && 2*slotBytes<<bits <= s.memory {
		bits++
	}
	err := s.index.close()
	if err == nil {
		s.index, err = newIndex(s.dir, s.memory, bits)
	}
	return err
}

// release closes the files.
func (s *Store) release() error {
	var err error
	if s.index != nil {
		err = s.index.close()
	}
	if s.file != nil {
		err = errors.Join(err, s.file.Close())
	}
	s.file, s.index = nil, nil
	return err
}

// Close makes durable what was kept.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.broken
	if s.writing && err == nil {
		if err = s.sync(); err == nil {
			err = s.write(add(make([]byte, blockHead), ended, 0, s.remember()))
		}
	}
	s.writing, s.broken = false, errClosed
	return errors.Join(err, s.release())
}

var errClosed = errors.New("the digests are closed")

// Flush makes durable what was kept so far.
func (s *Store) Flush(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.writing || s.broken != nil {
		return wrap("keeping digests", s.broken)
	}
	return wrap("keeping digests", s.sync())
}

func (s *Store) sync() error {
	if s.synced {
		return nil
	}
	err := s.file.Sync()
	s.synced = err == nil
	return err
}

// write appends a block.
func (s *Store) write(b []byte) error {
	if _, err := s.file.WriteAt(seal(b), s.size); err != nil {
		return err
	}
	s.size += int64(len(b))
	s.synced = false
	s.seen.reach(s.size)
	return nil
}

// begin is called before every write.
func (s *Store) begin() (err error) {
	if s.writing || s.broken != nil {
		return s.broken
	}
	switch {
	case s.file == nil:
		head := header(magic, s.run)
		s.file, err = replace(s.name, func(f *os.File) error { _, err := f.Write(head); return err })
		s.size = int64(len(head))
	case s.compacts():
		err = s.compact()
	default:
		err = s.file.Truncate(s.size) // what a process that died had begun
	}
	if err == nil {
		b, at := add(make([]byte, blockHead), begun, 0, s.boot), s.ruledAt
		if at == never {
			b, at = s.ruling(b), s.size
		}
		if err = s.write(b); err == nil {
			s.ruledAt = at
		}
	}
	if err == nil {
		err = s.sync()
	}
	s.writing = err == nil
	return err
}

// few is how many dead entries are no reason to write the log anew.
const few = 10_000

// change appends a block of entries of one unit, and lets them count.
func (s *Store) change(name string, fill func(b []byte, id uint64) []byte) error {
	if err := s.begin(); err != nil {
		return err
	}
	b := make([]byte, blockHead, 16<<10)
	id := s.nextID
	if u := s.units[name]; u != nil {
		id = u.id
	} else {
		b = add(b, named, id, name)
	}
	return s.append(fill(b, id), true)
}

// append appends a block and lets it count; with seen its keys are seen.
func (s *Store) append(b []byte, seen bool) error {
	if err := s.begin(); err != nil {
		return err
	}
	at := s.size
	if err := s.write(b); err != nil {
		return err
	}
	if s.broken = entries(at, b[blockHead:], func(e entry) error { return s.apply(e, at, seen) }); s.broken != nil {
		s.view.Store(nil)
	}
	return s.broken
}

// apply lets an entry of the block at this offset count.
func (s *Store) apply(e entry, block int64, seen bool) error {
	u := s.byID[e.unit]
	if e.kind == named {
		u = &unit{id: e.unit, name: string(e.key)}
		s.units[u.name], s.byID[u.id] = u, u
		s.nextID = max(s.nextID, u.id+1)
	}
	if u == nil {
		return errDamaged
	}
	if n := len(u.blocks); n == 0 || u.blocks[n-1] != block {
		u.blocks = append(u.blocks, block)
	}
	switch e.kind {
	case named:
		return nil
	case whole:
		u.whole = true
		return nil
	case dropped: // its entries are of no unit that there is
		s.live, s.dead = s.live-u.all, s.dead+u.all
		if v := s.view.Load(); v != nil && v.units[u.name] != nil {
			v.units[u.name].dropped.Store(true)
		}
		delete(s.units, u.name)
		delete(s.byID, u.id)
		return nil
	}
	return s.place(u, e, seen)
}

// place lets an entry stand for its key, which is seen when it was or is now.
func (s *Store) place(u *unit, e entry, seen bool) error {
	if err := s.index.room(); err != nil {
		return err
	}
	hash := s.hashOf(e)
	i, old, err := s.find(u.id, e.key, hash)
	if err != nil {
		return err
	}
	if !old.empty() {
		s.live, s.dead = s.live-1, s.dead+1
		seen = seen || s.seen.has(old.at())
		u.count(old.refused(), s.seen.has(old.at()), -1)
		s.gone.set(old.at())
	}
	if e.kind == forgotten {
		s.dead++
		if old.empty() {
			return nil
		}
		return s.index.set(i, slot{hash, removed})
	}
	next := slot{hash, uint64(e.at) << markBits}
	if seen {
		s.seen.set(e.at)
	}
	if e.kind&refused != 0 {
		next.ref |= refusedMark
	}
	if old.empty() {
		s.index.used++
	}
	s.live++
	u.count(next.refused(), seen, 1)
	return s.index.set(i, next)
}

func (u *unit) count(refused, seen bool, n int64) {
	u.all += n
	if !refused {
		u.held += n
	}
	if !seen {
		u.unseen += n
	}
}

func (s *Store) hash(unit uint64, key string) uint64 {
	return xxh3.HashStringSeed(key, s.hashes) ^ apart(unit)
}

// hashOf is hash of a key that is no string, which would have to be copied.
func (s *Store) hashOf(e entry) uint64 {
	return xxh3.HashSeed(e.key, s.hashes) ^ apart(e.unit)
}

// apart keeps the hashes of a key in two units apart.
func apart(unit uint64) uint64 { return unit * 0x9e3779b97f4a7c15 }

func (s *Store) find(unit uint64, key []byte, hash uint64) (uint64, slot, error) {
	return s.index.find(hash, func(o slot) (bool, error) {
		e, err := s.read(o)
		return err == nil && e.unit == unit && string(e.key) == string(key), err
	})
}

func (s *Store) read(o slot) (entry, error) {
	if s.loading {
		return s.windows.single(s.file, s.size, o.at())
	}
	return s.windows.read(s.file, s.size, o.at())
}

func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return pipeline.Environment(op, err, "free disk space in the state folder, then run the same command")
}
