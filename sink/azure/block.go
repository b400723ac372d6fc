package azure

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
)

// block is what the id of a block says of it.
type block struct {
	n      int
	bytes  int64
	crc32c uint32
}

// idBytes is the least length of an id: "og", the block's number (2 bytes), its
// length (4), its CRC32C (4), and the CRC32C of what cuts the object (4).
const idBytes = 16

// ids spells and reads the ids of one upload.
type ids struct {
	cut    uint32 // tells apart objects of other lengths, or cut otherwise
	length int    // of every id, at least idBytes
}

func newIDs(bytes, part int64) ids {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(bytes))
	binary.BigEndian.PutUint64(b[8:], uint64(part))
	return ids{cut: crc32.Checksum(b[:], castagnoli()), length: idBytes}
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// id is that of a block, as Azure takes it.
func (s ids) id(b block) string {
	raw := append(make([]byte, 0, s.length), "og"...)
	raw = binary.BigEndian.AppendUint16(raw, uint16(b.n))
	raw = binary.BigEndian.AppendUint32(raw, uint32(b.bytes))
	raw = binary.BigEndian.AppendUint32(raw, b.crc32c)
	raw = binary.BigEndian.AppendUint32(raw, s.cut)
	return base64.StdEncoding.EncodeToString(raw[:s.length])
}

// block reads an id; ok is false when it is none of this upload.
func (s ids) block(id string) (b block, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(id)
	if err != nil || len(raw) < idBytes {
		return b, false
	}
	b = block{n: int(binary.BigEndian.Uint16(raw[2:])), bytes: int64(binary.BigEndian.Uint32(raw[4:])), crc32c: binary.BigEndian.Uint32(raw[8:])}
	s.length = len(raw)
	return b, s.id(b) == id
}

// combine gives the CRC32C of two contents in a row, of which the second has that
// many bytes. Appending a zero bit is a linear map over GF(2): its powers are
// squared up to the length of the second.
func combine(first, second uint32, bytes int64) uint32 {
	var odd, even [32]uint32 // the maps of 2^k zero bits
	odd[0] = crc32.Castagnoli
	for n := 1; n < 32; n++ {
		odd[n] = 1 << (n - 1)
	}
	square(&even, &odd) // two bits
	square(&odd, &even) // four
	for at, other := &odd, &even; bytes > 0; bytes >>= 1 {
		square(other, at)
		at, other = other, at
		if bytes&1 != 0 {
			first = times(at, first)
		}
	}
	return first ^ second
}

func times(m *[32]uint32, v uint32) (sum uint32) {
	for n := 0; v != 0; n, v = n+1, v>>1 {
		if v&1 != 0 {
			sum ^= m[n]
		}
	}
	return sum
}

func square(to, m *[32]uint32) {
	for n := range m {
		to[n] = times(m, m[n])
	}
}
