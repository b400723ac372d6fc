package digests

import "math/bits"

// bitset is a set of small numbers.
type bitset struct {
	words []uint64
	n     int64
}

func (b *bitset) set(n int64) {
	if w := int(n >> 6); w >= len(b.words) {
		b.words = append(b.words, make([]uint64, w+1+len(b.words)/4-len(b.words))...)
	}
	w, bit := &b.words[n>>6], uint64(1)<<(n&63)
	b.n += int64(1 - bits.OnesCount64(*w&bit))
	*w |= bit
}

func (b *bitset) has(n int64) bool {
	return b != nil && int(n>>6) < len(b.words) && b.words[n>>6]&(1<<(n&63)) != 0
}

func (b *bitset) count() int64 {
	if b == nil {
		return 0
	}
	return b.n
}
