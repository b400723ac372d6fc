package digests

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"outgrow/pipeline"
)

// The log begins with magic, the length of the run's name and that name. Blocks
// follow, each written by one call: length and CRC-32C of what it holds, then
// entries, all of one unit. A later entry of a key stands for the earlier ones.
// The log before this one had neither origins nor rules: it is read, and written
// anew before anything is added.
const (
	magic    = "outgrow digests 3\n"
	oldMagic = "outgrow digests 2\n" // as long
)

// blockHead is the bytes of a block before its entries.
const blockHead = 8

// maxBlock is more than any block holds.
const maxBlock = 1 << 30

// What an entry says of a key.
const (
	refused   byte = 1 << iota // added to an entry with a sum
	doubt                      // added to an entry with a sum
	forgotten                  // the key is known no more; no sum
	traced                     // added to an entry with a sum: an origin follows that
)

// What an entry says of a unit, or of all; it has no sum.
const (
	named   byte = 0x83 + iota // the key is the unit's name
	whole                      // the unit was compared to its end
	dropped                    // the unit is known no more
	begun                      // a process writes from here on; the key is the boot's id
	ended                      // and has made durable what it wrote; the key is a memo's token
	ruled                      // the key is the seed of the origins from here on, and the rules
)

// summed reports whether an entry of this kind has a sum.
func summed(kind byte) bool { return kind&^(refused|doubt|traced) == 0 }

// entry is one of the log. Its key is only valid until the next is read.
type entry struct {
	at   int64 // where in the log
	kind byte
	unit uint64
	key  []byte
	sum  pipeline.Sum
	from pipeline.Sum // zero where it is not known
}

// known is what an entry says: its origin only if that is of the rules of now.
func (s *Store) known(e entry) pipeline.Known { return known(e, s.ruledAt) }

func known(e entry, ruledAt int64) pipeline.Known {
	k := pipeline.Known{Sum: e.sum, Refused: e.kind&refused != 0, Doubt: e.kind&doubt != 0}
	if e.at >= ruledAt {
		k.Origin = e.from
	}
	return k
}

func kindOf(k pipeline.Known) (kind byte) {
	if k.Refused {
		kind |= refused
	}
	if k.Doubt {
		kind |= doubt
	}
	if k.Origin != (pipeline.Sum{}) {
		kind |= traced
	}
	return kind
}

// add appends an entry without sums to a block.
func add(b []byte, kind byte, unit uint64, key string) []byte {
	b = binary.AppendUvarint(append(b, kind), unit)
	return append(binary.AppendUvarint(b, uint64(len(key))), key...)
}

// addKnown appends an entry that tells what is known of a key.
func addKnown(b []byte, unit uint64, key string, k pipeline.Known) []byte {
	kind := kindOf(k)
	b = append(add(b, kind, unit, key), k.Sum[:]...)
	if kind&traced != 0 {
		b = append(b, k.Origin[:]...)
	}
	return b
}

// decode reads an entry; n is 0 when b does not hold all of it.
func decode(b []byte) (e entry, n int) {
	if len(b) == 0 {
		return e, 0
	}
	e.kind, n = b[0], 1
	var length uint64
	for _, v := range []*uint64{&e.unit, &length} {
		x, size := binary.Uvarint(b[n:])
		if size <= 0 {
			return e, 0
		}
		*v, n = x, n+size
	}
	if length > uint64(len(b)-n) {
		return e, 0
	}
	e.key, n = b[n:n+int(length)], n+int(length)
	if !summed(e.kind) {
		return e, n
	}
	if copy(e.sum[:], b[n:]) < len(e.sum) {
		return e, 0
	}
	n += len(e.sum)
	if e.kind&traced == 0 {
		return e, n
	}
	if copy(e.from[:], b[n:]) < len(e.from) {
		return e, 0
	}
	return e, n + len(e.from)
}

// entries calls f for every entry of a block that is at this offset.
func entries(at int64, payload []byte, f func(entry) error) error {
	for n := 0; n < len(payload); {
		e, size := decode(payload[n:])
		if size == 0 {
			return errDamaged
		}
		e.at = at + blockHead + int64(n)
		if err := f(e); err != nil {
			return err
		}
		n += size
	}
	return nil
}

var (
	errDamaged = errors.New("the file is damaged")
	errOther   = errors.New("they are of another run, or of another version of outgrow")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func header(magic, run string) []byte {
	return append(binary.AppendUvarint([]byte(magic), uint64(len(run))), run...)
}

// blocks calls f for the blocks between two offsets, and gives the end of the
// last one that is whole: a process that dies leaves the beginning of one behind.
func blocks(f *os.File, from, to int64, each func(at int64, payload []byte) error) (end int64, err error) {
	r := bufio.NewReaderSize(io.NewSectionReader(f, from, to-from), 256<<10)
	var head [blockHead]byte
	var payload []byte
	for at := from; ; {
		if to-at < blockHead {
			return at, nil
		}
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return at, err
		}
		size := int64(binary.LittleEndian.Uint32(head[:]))
		if size == 0 || size > maxBlock {
			return at, errDamaged
		}
		if size > to-at-blockHead {
			return at, nil
		}
		if int64(cap(payload)) < size {
			payload = make([]byte, size)
		}
		payload = payload[:size]
		if _, err := io.ReadFull(r, payload); err != nil {
			return at, err
		}
		if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
			return at, errDamaged
		}
		if err := each(at, payload); err != nil {
			return at, err
		}
		at += blockHead + size
	}
}

// seal fills in the head of a block, for which the first bytes are kept free.
func seal(b []byte) []byte {
	binary.LittleEndian.PutUint32(b, uint32(len(b)-blockHead))
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[blockHead:], castagnoli))
	return b
}

// bootID names the time since the machine was started, during which nothing that
// was written is lost. Where that is not known it is another one every time.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return rand.Text()
	}
	return strings.TrimSpace(string(b))
}

// replace makes a file by what write writes, and lets it take the place of the
// one of that name once it is durable. It stays open.
func replace(name string, write func(*os.File) error) (_ *os.File, err error) {
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := write(f); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return nil, err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return nil, err
	}
	return f, nil
}

// rule begins what was written under some rules.
func (s *Store) rule(e entry) {
	if seed, rules := e.key[:min(len(e.key), seedBytes)], e.key[min(len(e.key), seedBytes):]; len(seed) == seedBytes && string(rules) == s.rules {
		s.seed, s.ruledAt = binary.BigEndian.Uint64(seed), e.at
		return
	}
	s.ruledAt = never
}

const (
	seedBytes = 8
	never     = math.MaxInt64 // the log has nothing of the rules of now at its end
)

// ruling is the entry that says which rules are those of now.
func (s *Store) ruling(b []byte) []byte {
	return add(b, ruled, 0, string(binary.BigEndian.AppendUint64(nil, s.seed))+s.rules)
}

// load reads what the log tells of this run; damage, another run's and what may
// not have become durable is an error.
func (s *Store) load() error {
	f, err := os.OpenFile(s.name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	s.file = f
	info, err := f.Stat()
	if err != nil {
		return err
	}
	head := header(magic, s.run)
	have := make([]byte, len(head))
	if _, err := io.ReadFull(f, have); err != nil {
		return errOther
	}
	s.old = string(have) == string(header(oldMagic, s.run))
	if !s.old && string(have) != string(head) {
		return errOther
	}
	s.size, s.opened = info.Size(), info
	from := int64(len(head))
	if !s.old {
		if from, err = s.recall(from); err != nil {
			return err
		}
	}
	if s.memoAt == 0 {
		if err := s.expect(s.size); err != nil {
			return err
		}
	}
	by := s.boot // of the process that wrote last, when it has not ended
	s.loading = true
	defer func() { s.loading = false }()
	end, err := blocks(f, from, s.size, func(at int64, payload []byte) error {
		return entries(at, payload, func(e entry) error {
			switch e.kind {
			case begun:
				by = string(e.key)
			case ended:
				by = s.boot
			case ruled:
				s.rule(e)
			default:
				return s.apply(e, at, false)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	if by != s.boot {
		return fmt.Errorf("the machine stopped while it was written: %w", errDamaged)
	}
	s.size, s.windows = end, windows{} // what is written from here on is another's
	s.look()
	return nil
}
