package digests

import "sync/atomic"

// marks are entries of the log, by their offsets. They take a bit for markedBytes of
// it, which is less than any entry with a sum has. A copy shares the marks of the log
// that there was when it was made.
type marks struct{ chunks []*[chunkWords]uint64 }

const (
	markedBytes = 16
	chunkWords  = 512
	chunkBytes  = chunkWords * 64 * markedBytes // of the log
)

// word gives where an entry's mark is, nil where there is no room for it.
func (m marks) word(at int64) (word *uint64, bit uint64) {
	n := int(at / chunkBytes)
	if n >= len(m.chunks) {
		return nil, 0
	}
	return &m.chunks[n][at%chunkBytes/(64*markedBytes)], 1 << (at / markedBytes % 64)
}

// has reports whether an entry is marked.
func (m marks) has(at int64) bool {
	word, bit := m.word(at)
	return word != nil && atomic.LoadUint64(word)&bit != 0
}

// add marks an entry for which there is room, and reports whether it was not marked
// before. Several goroutines may add at the same time.
func (m marks) add(at int64) bool {
	word, bit := m.word(at)
	return atomic.OrUint64(word, bit)&bit == 0
}

// set marks an entry, and makes room for it.
func (m *marks) set(at int64) {
	m.reach(at + 1)
	m.add(at)
}

// reach makes room for the entries of a log of so many bytes.
func (m *marks) reach(bytes int64) {
	for int64(len(m.chunks))*chunkBytes < bytes {
		m.chunks = append(m.chunks, new([chunkWords]uint64))
	}
}

// clear takes all marks away.
func (m marks) clear() {
	for _, c := range m.chunks {
		clear(c[:])
	}
}
