package sqlite

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// What stands before the frames of a -wal, and before the page of each, in bytes.
const (
	walHeader   = 32
	frameHeader = 24
	// framesMost bounds the memory of a walIndex.
	framesMost = 1 << 18
)

// walIndex tells which pages a -wal holds newer than the database.
type walIndex struct {
	frames map[uint32]uint32 // the last frame of a page, counted from 0
	count  uint32            // pages of the database after the last commit; 0: none
	size   int64             // of a page, in bytes
	bytes  int64             // of the -wal
}

// indexWAL takes of a -wal exactly what SQLite does when it recovers one, see
// https://www.sqlite.org/fileformat2.html section 4: what is not known from a frame
// that it takes would be a page of another moment.
func indexWAL(path string) (x walIndex, err error) {
	f, err := os.Open(path)
	if err != nil {
		return x, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return x, err
	}
	x.bytes = info.Size()
	return x, x.read(bufio.NewReaderSize(f, stretchMost))
}

func (x *walIndex) read(r io.Reader) error {
	var h [walHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return errOdd
	}
	word := func(b []byte, i int) uint32 { return binary.BigEndian.Uint32(b[4*i:]) }
	const magic, version = 0x377f0682, 3007000
	x.size = int64(word(h[:], 2))
	if word(h[:], 0)&^1 != magic || word(h[:], 1) != version || x.size < 512 || x.size > 65536 || x.size&(x.size-1) != 0 {
		return errOdd
	}
	sum := walSum{big: word(h[:], 0)&1 == 1}
	if sum.add(h[:24]); !sum.is(h[24:]) {
		return errOdd
	}
	x.frames = map[uint32]uint32{}
	type change struct{ page, frame uint32 }
	var open []change // not committed yet
	buf := make([]byte, frameHeader+x.size)
	for n := uint32(0); ; n++ {
		switch _, err := io.ReadFull(r, buf); {
		case isEOF(err) || errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		case n == framesMost:
			return errOdd
		}
		page := word(buf, 0)
		if page == 0 || string(buf[8:16]) != string(h[16:24]) { // salts of an earlier round
			return nil
		}
		sum.add(buf[:8])
		if sum.add(buf[frameHeader:]); !sum.is(buf[16:24]) {
			return nil
		}
		open = append(open, change{page, n})
		if count := word(buf, 1); count > 0 {
			x.count = count
			for _, c := range open {
				x.frames[c.page] = c.frame
			}
			open = open[:0]
		}
	}
}

// walSum is the checksum of a -wal, over all that came before.
type walSum struct {
	big    bool // the order of the bytes
	s0, s1 uint32
}

// add adds bytes, eight at a time.
func (s *walSum) add(b []byte) {
	s0, s1 := s.s0, s.s1
	if s.big {
		for ; len(b) >= 8; b = b[8:] {
			s0 += binary.BigEndian.Uint32(b) + s1
			s1 += binary.BigEndian.Uint32(b[4:]) + s0
		}
	} else {
		for ; len(b) >= 8; b = b[8:] {
			s0 += binary.LittleEndian.Uint32(b) + s1
			s1 += binary.LittleEndian.Uint32(b[4:]) + s0
		}
	}
	s.s0, s.s1 = s0, s1
}

// is reports whether it is what stands there.
func (s *walSum) is(b []byte) bool {
	return s.s0 == binary.BigEndian.Uint32(b) && s.s1 == binary.BigEndian.Uint32(b[4:])
}
