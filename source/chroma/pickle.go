package chroma

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// errPickle is the cause of every refusal of a pickle for what it holds, as
// opposed to a failure to read it.
var errPickle = errors.New("not an index of Chroma")

const (
	// pickleClass is the only class a pickle may name.
	pickleModule = "chromadb.segment.impl.vector.local_persistent_hnsw"
	pickleClass  = "PersistentData"
	maxPickleStr = 16 << 20 // longest string, an id
	maxStack     = 8192     // Python writes dicts in chunks of 1000 pairs, which are folded as they come
)

type pickleKind uint8

const (
	pkNone pickleKind = iota
	pkInt
	pkStr
	pkRef // a string of the memo, still to be read from the file
	pkMark
	pkDict
	pkClass
	pkTuple
	pkObject
)

// pickleValue is one element of the stack.
type pickleValue struct {
	kind pickleKind
	num  int64  // pkInt: the value; pkStr, pkRef: where the string stands in the file
	size uint32 // pkStr, pkRef: its length
	str  string // pkStr: the string; pkDict: the key under which it stands, "" for the root
}

// memoEntry is what a BINGET needs: where a string stands. Other values are
// remembered as size noString.
type memoEntry struct {
	at   int64
	size uint32
}

const noString = ^uint32(0)

// pickleReader reads the index_metadata.pickle of an HNSW segment: the opcodes
// that chromadb 0.4 to 1.5 writes, and nothing else. It makes no object and
// calls nothing; its memory does not grow with the file but for 16 bytes for
// each string that the pickle memoizes.
type pickleReader struct {
	r     *bufio.Reader
	file  io.ReaderAt
	size  int64
	at    int64
	stack []pickleValue
	last  pickleValue // what was pushed last, which MEMOIZE means
	memo  []memoEntry
	// label is told each pair of id_to_label.
	label func(id string, label uint64) error
	// maxSeq is the pickle's max_seq_id, 0 when it has none.
	maxSeq int64
	// hasLabels is whether there was an id_to_label at all.
	hasLabels bool
}

// readPickle reads a whole pickle, calling label for each id.
func readPickle(file io.ReaderAt, size int64, label func(string, uint64) error) (maxSeq int64, err error) {
	p := &pickleReader{
		r:    bufio.NewReaderSize(io.NewSectionReader(file, 0, size), 64<<10),
		file: file, size: size, label: label,
	}
	if err := p.run(); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: it ends too early", errPickle)
		}
		return 0, fmt.Errorf("at byte %d: %w", p.at, err)
	}
	if !p.hasLabels {
		return 0, fmt.Errorf("%w: no id_to_label", errPickle)
	}
	return p.maxSeq, nil
}

func (p *pickleReader) bytes(b []byte) error {
	n, err := io.ReadFull(p.r, b)
	p.at += int64(n)
	return err
}

// number reads n bytes as a little endian number.
func (p *pickleReader) number(n int) (uint64, error) {
	var b [8]byte
	if err := p.bytes(b[:n]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

func (p *pickleReader) push(v pickleValue) error {
	if len(p.stack) >= maxStack {
		return fmt.Errorf("%w: nested too deep", errPickle)
	}
	p.stack, p.last = append(p.stack, v), v
	return p.fold()
}

func (p *pickleReader) pop(kind pickleKind) (pickleValue, error) {
	if n := len(p.stack); n > 0 && p.stack[n-1].kind == kind {
		v := p.stack[n-1]
		p.stack = p.stack[:n-1]
		return v, nil
	}
	return pickleValue{}, fmt.Errorf("%w: out of place", errPickle)
}

// fold takes a pair off the stack when it can only belong to the dict below the
// mark, so that a chunk of any length needs no stack.
func (p *pickleReader) fold() error {
	n := len(p.stack)
	if n < 4 || p.stack[n-3].kind != pkMark || p.stack[n-4].kind != pkDict || p.stack[n-1].kind > pkRef {
		return nil
	}
	if err := p.set(p.stack[n-4], p.stack[n-2], p.stack[n-1]); err != nil {
		return err
	}
	p.stack = p.stack[:n-2]
	return nil
}

// set is told every pair of every dict.
func (p *pickleReader) set(dict, key, value pickleValue) error {
	switch dict.str {
	case "": // the root
		if key.kind == pkStr && key.str == "max_seq_id" && value.kind == pkInt {
			p.maxSeq = value.num
		}
		return nil
	case "id_to_label":
		if value.kind != pkInt || value.num < 0 {
			return fmt.Errorf("%w: a label is not a number", errPickle)
		}
		id, err := p.text(key)
		if err != nil {
			return err
		}
		return p.label(id, uint64(value.num))
	}
	return nil
}

func (p *pickleReader) text(v pickleValue) (string, error) {
	switch v.kind {
	case pkStr:
		return v.str, nil
	case pkRef:
		b := make([]byte, v.size)
		if _, err := p.file.ReadAt(b, v.num); err != nil {
			return "", err
		}
		return string(b), nil
	}
	return "", fmt.Errorf("%w: an id is not a string", errPickle)
}

func (p *pickleReader) pushString(n uint64) error {
	if n > maxPickleStr || int64(n) > p.size-p.at {
		return fmt.Errorf("%w: a string of %d bytes", errPickle, n)
	}
	b := make([]byte, n)
	at := p.at
	if err := p.bytes(b); err != nil {
		return err
	}
	return p.push(pickleValue{kind: pkStr, num: at, size: uint32(n), str: string(b)})
}
