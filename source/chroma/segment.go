package chroma

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Files of an HNSW segment's folder that are read. link_lists.bin is not.
const (
	fileHeader = "header.bin"
	fileData   = "data_level0.bin"
	fileLength = "length.bin"
	filePickle = "index_metadata.pickle"
)

// errSegment is the cause of every refusal of segment files for what they hold.
var errSegment = errors.New("the segment's files do not fit together")

// fileState is what a change of a file is seen by; size -1 when there is none.
type fileState struct {
	size  int64
	mtime time.Time
}

// segmentState is the state of the files that must belong together.
type segmentState [4]fileState

func stateOf(path string) (fileState, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fileState{size: -1}, nil
	}
	if err != nil {
		return fileState{}, err
	}
	return fileState{st.Size(), st.ModTime()}, nil
}

func stateOfSegment(dir string) (s segmentState, err error) {
	for i, name := range []string{filePickle, fileHeader, fileData, fileLength} {
		if s[i], err = stateOf(filepath.Join(dir, name)); err != nil {
			return s, err
		}
	}
	return s, nil
}

// segment reads vectors of an HNSW segment by position; it holds none of them.
type segment struct {
	data     *os.File
	lengths  []float32 // of the original vectors, by slot; nil unless they are stored normalised
	dim      int
	used     int64 // slots in use, deleted ones included
	stride   int64 // size_data_per_element
	vectorAt int64 // offsetData
	labelAt  int64 // label_offset
}

// openSegment reads the header and opens the data. cosine tells that the
// vectors are stored normalised, so that length.bin is needed.
func openSegment(dir string, cosine bool) (*segment, error) {
	head, err := os.ReadFile(filepath.Join(dir, fileHeader))
	if err != nil {
		return nil, missingIsDamage(err)
	}
	if len(head) < 100 || binary.LittleEndian.Uint32(head) != 1 {
		return nil, fmt.Errorf("%w: header of %d bytes, version %x", errSegment, len(head), head[:min(4, len(head))])
	}
	u := func(at int) int64 { return int64(binary.LittleEndian.Uint64(head[at:])) }
	s := &segment{used: u(20), stride: u(28), labelAt: u(36), vectorAt: u(44)}
	width := s.labelAt - s.vectorAt
	if s.vectorAt < 4 || s.vectorAt > 1<<20 || width <= 0 || width%4 != 0 || width > 1<<28 || s.stride != s.labelAt+8 || s.used < 0 {
		return nil, fmt.Errorf("%w: impossible header", errSegment)
	}
	s.dim = int(width / 4)
	if s.data, err = os.Open(filepath.Join(dir, fileData)); err != nil {
		return nil, missingIsDamage(err)
	}
	st, err := s.data.Stat()
	if err == nil && (s.used > math.MaxUint32 || st.Size() < s.used*s.stride) {
		err = fmt.Errorf("%w: %s has %d bytes, the header says %d slots of %d", errSegment, fileData, st.Size(), s.used, s.stride)
	}
	if err == nil && cosine {
		s.lengths, err = readLengths(filepath.Join(dir, fileLength), s.used)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func missingIsDamage(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errSegment, err)
	}
	return err
}

func (s *segment) Close() {
	if s.data != nil {
		_ = s.data.Close() // it was only read
	}
}

// readLengths reads the length of the vector in each slot.
func readLengths(path string, slots int64) ([]float32, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, missingIsDamage(err)
	}
	defer f.Close()
	b := make([]byte, 4*slots)
	if err := readAt(f, b, 0); err != nil {
		return nil, err
	}
	return decodeVector(b, 1), nil
}

// labelSlot says that the record with this label is in this slot.
type labelSlot struct {
	label uint64
	slot  uint32
}

// labels reads the label of every slot, sorted by label. 16 bytes a slot.
func (s *segment) labels() ([]labelSlot, error) {
	list := make([]labelSlot, 0, s.used)
	per := max(1, (1<<20)/s.stride)
	buf := make([]byte, per*s.stride)
	for at := int64(0); at < s.used; at += per {
		n := min(per, s.used-at)
		if err := readAt(s.data, buf[:n*s.stride], at*s.stride); err != nil {
			return nil, err
		}
		for i := range n {
			list = append(list, labelSlot{binary.LittleEndian.Uint64(buf[i*s.stride+s.labelAt:]), uint32(at + i)})
		}
	}
	slices.SortFunc(list, func(a, b labelSlot) int {
		switch {
		case a.label < b.label:
			return -1
		case a.label > b.label:
			return 1
		}
		return 0
	})
	return list, nil
}

func slotOf(list []labelSlot, label uint64) (uint32, bool) {
	i, ok := slices.BinarySearchFunc(list, label, func(l labelSlot, want uint64) int {
		switch {
		case l.label < want:
			return -1
		case l.label > want:
			return 1
		}
		return 0
	})
	if !ok {
		return 0, false
	}
	return list[i].slot, true
}

// vectorChunk is how much of data_level0.bin is read at once.
const vectorChunk = 256 << 10

// vectors reads the vectors of slots, which must be sorted, as they were before
// the index normalised them: for cosine the product in float32 of what is stored
// and its length. buf is for reuse and is returned.
func (s *segment) vectors(slots []place, buf []byte, take func(i int, v []float32)) ([]byte, error) {
	for from := 0; from < len(slots); {
		to := from + 1
		for to < len(slots) && slots[to]-slots[to-1] <= 2 && int64(slots[to]-slots[from]+1)*s.stride <= vectorChunk {
			to++
		}
		// From the first vector to the end of the last one.
		n := int64(slots[to-1]-slots[from])*s.stride + int64(4*s.dim)
		if int64(cap(buf)) < n {
			buf = make([]byte, max(n, min(vectorChunk, s.used*s.stride)))
		}
		buf = buf[:n]
		if err := readAt(s.data, buf, int64(slots[from])*s.stride+s.vectorAt); err != nil {
			return buf, err
		}
		for i := from; i < to; i++ {
			length := float32(1)
			if s.lengths != nil {
				length = s.lengths[slots[i]]
			}
			at := int64(slots[i]-slots[from]) * s.stride
			take(i, decodeVector(buf[at:at+int64(4*s.dim)], length))
		}
		from = to
	}
	return buf, nil
}

// readAt reads all of b; a file that ends before is damage.
func readAt(f *os.File, b []byte, at int64) error {
	_, err := f.ReadAt(b, at)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %s ends before byte %d", errSegment, filepath.Base(f.Name()), at+int64(len(b)))
	}
	return err
}

// decodeVector gives float32 values, stored little endian, times length.
// (Times 1 is the value itself, also for infinities and signed zeros.)
func decodeVector(b []byte, length float32) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b)) * length
		b = b[4:]
	}
	return v
}
