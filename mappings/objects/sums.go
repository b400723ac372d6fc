package objects

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"

	"outgrow/pipeline"
)

// Algorithms is a set of digests.
type Algorithms uint8

// The digests of [Sums].
const (
	CRC32C Algorithms = 1 << iota
	MD5
	SHA256
)

// Known tells which digests are known.
func (s Sums) Known() (a Algorithms) {
	if s.CRC32C != "" {
		a |= CRC32C
	}
	if s.MD5 != "" {
		a |= MD5
	}
	if s.SHA256 != "" {
		a |= SHA256
	}
	return a
}

// Only leaves out the digests that are not in the set.
func (s Sums) Only(a Algorithms) Sums {
	if a&CRC32C == 0 {
		s.CRC32C = ""
	}
	if a&MD5 == 0 {
		s.MD5 = ""
	}
	if a&SHA256 == 0 {
		s.SHA256 = ""
	}
	return s
}

// Or fills in from other what is not known.
func (s Sums) Or(other Sums) Sums {
	if s.CRC32C == "" {
		s.CRC32C = other.CRC32C
	}
	if s.MD5 == "" {
		s.MD5 = other.MD5
	}
	if s.SHA256 == "" {
		s.SHA256 = other.SHA256
	}
	return s
}

// Compare compares the digests that both know; decided is false when there is
// none.
func (s Sums) Compare(other Sums) (same, decided bool) {
	both := s.Known() & other.Known()
	return s.Only(both) == other.Only(both), both != 0
}

// SumsOf gives the digests that a record knows.
func SumsOf(o *pipeline.Object) Sums {
	return Sums{CRC32C: o.CRC32C, MD5: o.MD5, SHA256: o.SHA256}
}

// Hasher computes any of the digests in one pass over what is written to it. It
// is not safe for concurrent use.
type Hasher struct {
	want     Algorithms
	bytes    int64
	crc      uint32
	md5, sha hash.Hash
}

// NewHasher computes the digests of the set.
func NewHasher(a Algorithms) *Hasher {
	h := &Hasher{want: a}
	if a&MD5 != 0 {
		h.md5 = md5.New()
	}
	if a&SHA256 != 0 {
		h.sha = sha256.New()
	}
	return h
}

// Write never fails.
func (h *Hasher) Write(p []byte) (int, error) {
	h.bytes += int64(len(p))
	if h.want&CRC32C != 0 {
		h.crc = crc32.Update(h.crc, crc32.MakeTable(crc32.Castagnoli), p)
	}
	if h.md5 != nil {
		h.md5.Write(p)
	}
	if h.sha != nil {
		h.sha.Write(p)
	}
	return len(p), nil
}

// Bytes is how much was written.
func (h *Hasher) Bytes() int64 { return h.bytes }

// Sums gives the digests of what was written so far.
func (h *Hasher) Sums() (s Sums) {
	if h.want&CRC32C != 0 {
		s.CRC32C = FormatCRC32C(h.crc)
	}
	if h.md5 != nil {
		s.MD5 = hex.EncodeToString(h.md5.Sum(nil))
	}
	if h.sha != nil {
		s.SHA256 = hex.EncodeToString(h.sha.Sum(nil))
	}
	return s
}

// SumsOfBytes gives the digests of a content in memory.
func SumsOfBytes(a Algorithms, body []byte) Sums {
	h := NewHasher(a)
	_, _ = h.Write(body)
	return h.Sums()
}

// FormatCRC32C spells a checksum as Sums and pipeline.Object do.
func FormatCRC32C(crc uint32) string { return fmt.Sprintf("%08x", crc) }
