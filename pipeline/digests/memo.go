package digests

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// memo is what a process that comes to its end keeps of what it made out of the log,
// so that the next one need not make it again, but for what was added to the log since.
// It is only believed beside the very log that it was made of, in which its token is,
// and is never needed: whatever is wrong with it, the log tells all.
type memo struct {
	Token string
	Last  int64 // where in the log the block with the token is, which ended it
	// The rest is as in Store and unit.
	Hashes, NextID, Seed uint64
	RuledAt              int64
	Rules                string
	Live, Dead           int64
	Gone                 []uint64
	Units                []memoUnit
	Slots                int64 // so many follow, and then the checksum
}

type memoUnit struct {
	ID        uint64
	Name      string
	All, Held int64
	Whole     bool
	Blocks    []int64
}

// The file of a memo begins with memoMagic and the length of the memo's gob; behind
// that are the slots, in the order of the index, and a CRC-32C of all before.
const memoMagic = "outgrow digests' index 1\n"

func memoIn(dir string) string { return filepath.Join(dir, "digests.index") }

// remember keeps a memo, and gives the token that is to end the log; "" where none is
// made, as the one that there is serves still.
func (s *Store) remember() string {
	const rest = 8 // of the log, if so little is behind the memo
	if s.index.file != nil || s.ruledAt == never || s.size-s.memoAt < s.size/rest {
		return ""
	}
	m := memo{Token: rand.Text(), Last: s.size, Hashes: s.hashes, NextID: s.nextID, Seed: s.seed, RuledAt: s.ruledAt, Rules: s.rules,
		Live: s.live, Dead: s.dead}
	for _, c := range s.gone.chunks {
		m.Gone = append(m.Gone, c[:]...)
	}
	for _, u := range s.units {
		m.Units = append(m.Units, memoUnit{u.id, u.name, u.all, u.held, u.whole, u.blocks})
	}
	for _, o := range s.index.mem {
		if !o.empty() {
			m.Slots++
		}
	}
	name := memoIn(s.dir)
	f, err := replace(name, func(f *os.File) error { return m.write(f, s.index.mem) })
	if err != nil {
		_ = os.Remove(name + ".new")
		return ""
	}
	_ = f.Close() // it is durable
	s.memoAt = s.size
	return m.Token
}

func (m *memo) write(f *os.File, slots []slot) error {
	var head bytes.Buffer
	if err := gob.NewEncoder(&head).Encode(m); err != nil {
		return err
	}
	sum := crc32.New(castagnoli)
	w := bufio.NewWriterSize(io.MultiWriter(f, sum), 64<<10)
	var b [slotBytes]byte
	put := func(p []byte) {
		_, _ = w.Write(p) // Flush tells
	}
	put([]byte(memoMagic))
	put(binary.LittleEndian.AppendUint64(nil, uint64(head.Len())))
	put(head.Bytes())
	for _, o := range slots {
		if !o.empty() {
			binary.LittleEndian.PutUint64(b[:], o.hash)
			binary.LittleEndian.PutUint64(b[8:], o.ref)
			put(b[:])
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := f.Write(binary.LittleEndian.AppendUint32(nil, sum.Sum32()))
	return err
}

// readMemo reads a memo and its slots, into an index of at most limit bytes.
func readMemo(name string, limit int64) (*memo, *index, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	sum, all := crc32.New(castagnoli), bufio.NewReaderSize(f, 64<<10)
	body := &io.LimitedReader{R: all, N: info.Size() - crc32.Size}
	r := io.TeeReader(body, sum)
	b := make([]byte, len(memoMagic)+8)
	if _, err := io.ReadFull(r, b); err != nil || string(b[:len(memoMagic)]) != memoMagic {
		return nil, nil, errors.Join(err, errOther)
	}
	size := binary.LittleEndian.Uint64(b[len(memoMagic):])
	if size > uint64(body.N) {
		return nil, nil, errDamaged
	}
	head, m := make([]byte, size), &memo{}
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, nil, err
	}
	if err := gob.NewDecoder(bytes.NewReader(head)).Decode(m); err != nil {
		return nil, nil, err
	}
	if m.Slots < 0 || body.N != m.Slots*slotBytes {
		return nil, nil, errDamaged
	}
	bits := uint(firstBits)
	for (m.Slots+m.Slots/32+1)*4 > 3<<bits {
		bits++
	}
	if slotBytes<<bits > limit {
		return nil, nil, errOther
	}
	x, err := newIndex(filepath.Dir(name), limit, bits)
	if err != nil {
		return nil, nil, err
	}
	var o [slotBytes]byte
	for range m.Slots {
		if _, err := io.ReadFull(r, o[:]); err != nil {
			return nil, nil, err
		}
		x.put(slot{binary.LittleEndian.Uint64(o[:]), binary.LittleEndian.Uint64(o[8:])})
	}
	if _, err := io.ReadFull(all, b[:crc32.Size]); err != nil || binary.LittleEndian.Uint32(b) != sum.Sum32() {
		return nil, nil, errors.Join(err, errDamaged)
	}
	return m, x, nil
}

// recall takes over what a memo says of the log, if it is that log's; so many bytes of
// it are its header. It gives where what it does not tell of begins. Damage of the log
// is an error.
func (s *Store) recall(head int64) (rest int64, err error) {
	m, x, err := readMemo(memoIn(s.dir), s.memory)
	if err != nil {
		return head, nil //nolint:nilerr // the log tells all
	}
	own := false
	end, err := blocks(s.file, head, min(m.Last+1, s.size), func(int64, []byte) error { return nil })
	if err == nil && end == m.Last {
		odd := s.block(m.Last, func(e entry) error {
			own = e.kind == ended && string(e.key) == m.Token
			rest = e.at + int64(len(add(nil, ended, 0, m.Token)))
			return nil
		})
		own = own && odd == nil
	}
	if err != nil || !own {
		return head, err
	}
	s.index, s.hashes, s.nextID, s.live, s.dead = x, m.Hashes, m.NextID, m.Live, m.Dead
	s.gone = marks{}
	for c := range slices.Chunk(m.Gone, chunkWords) {
		s.gone.chunks = append(s.gone.chunks, new([chunkWords]uint64))
		copy(s.gone.chunks[len(s.gone.chunks)-1][:], c)
	}
	if m.Rules == s.rules {
		s.seed, s.ruledAt = m.Seed, m.RuledAt
	}
	for _, k := range m.Units {
		u := &unit{id: k.ID, name: k.Name, all: k.All, held: k.Held, unseen: k.All, whole: k.Whole, blocks: k.Blocks}
		s.units[u.name], s.byID[u.id] = u, u
	}
	s.memoAt = rest
	return rest, nil
}
