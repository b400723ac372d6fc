package pgvector

import (
	"encoding/binary"
	"fmt"
	"io"

	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

// stream encodes records in PostgreSQL's binary COPY format, one at a time, so
// that the encoded form of a batch is never held whole.
type stream struct {
	layout     vectors.PGLayout
	collection string
	records    []*pipeline.Vector
	buf        []byte
	off        int
	state      int // 0 before the header, 1 in the records, 2 after the trailer
}

// The header: signature, no flags, no extension. Source: PostgreSQL manual,
// COPY, binary format.
const header = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func (s *stream) Read(p []byte) (int, error) {
	for s.off == len(s.buf) {
		s.buf, s.off = s.buf[:0], 0
		switch {
		case s.state == 0:
			s.buf, s.state = append(s.buf, header...), 1
		case s.state == 2:
			return 0, io.EOF
		case len(s.records) == 0:
			s.buf, s.state = append(s.buf, 0xff, 0xff), 2
		default:
			if err := s.record(s.records[0]); err != nil {
				return 0, err
			}
			s.records = s.records[1:]
		}
	}
	n := copy(p, s.buf[s.off:])
	s.off += n
	return n, nil
}

func (s *stream) record(v *pipeline.Vector) error {
	b := append(s.buf, 0, 5)
	b = text(b, v.ID)
	at := len(b)
	b, err := s.layout.Append(append(b, 0, 0, 0, 0), v.Embedding)
	if err != nil {
		return fmt.Errorf("encoding the vector of %s: %w", v.ID, err)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	b = text(b, s.collection)
	if v.Text == nil {
		b = append(b, null...)
	} else {
		b = text(b, *v.Text)
	}
	if v.Metadata == nil {
		b = append(b, null...)
	} else {
		b = binary.BigEndian.AppendUint32(b, uint32(len(v.Metadata)+1))
		b = append(append(b, 1), v.Metadata...) // 1 is jsonb's version
	}
	s.buf = b
	return nil
}

const null = "\xff\xff\xff\xff"

func text(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}
