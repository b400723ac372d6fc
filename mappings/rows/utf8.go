package rows

import "encoding/binary"

// The states of the automaton that recognises UTF-8 (RFC 3629, section 4), each
// the place of its six bits in a line of the table. A line belongs to a byte
// and holds, at the place of every state, the state that the byte leads to.
const (
	broken    = 6 * iota // for good
	between              // before a character
	oneMore              // continuation bytes are to come: 80..BF
	twoMore              //
	threeMore            //
	afterE0              // A0..BF and one more: nothing overlong
	afterED              // 80..9F and one more: no surrogates
	afterF0              // 90..BF and two more: nothing overlong
	afterF4              // 80..8F and two more: up to U+10FFFF
)

var steps = func() (table [256]uint64) {
	lead := func(lo, hi, from, to int) {
		for c := lo; c <= hi; c++ {
			table[c] |= uint64(to) << from
		}
	}
	lead(0x00, 0x7f, between, between)
	lead(0xc2, 0xdf, between, oneMore)
	lead(0xe0, 0xef, between, twoMore)
	lead(0xf0, 0xf4, between, threeMore)
	for c, state := range map[int]int{0xe0: afterE0, 0xed: afterED, 0xf0: afterF0, 0xf4: afterF4} {
		table[c] = uint64(state) << between
	}
	lead(0x80, 0xbf, oneMore, between)
	lead(0x80, 0xbf, twoMore, oneMore)
	lead(0x80, 0xbf, threeMore, twoMore)
	lead(0xa0, 0xbf, afterE0, oneMore)
	lead(0x80, 0x9f, afterED, oneMore)
	lead(0x90, 0xbf, afterF0, twoMore)
	lead(0x80, 0x8f, afterF4, twoMore)
	return table
}()

// valid is utf8.Valid, but does not branch on what people write: on texts in
// mixed alphabets it takes half the time.
func valid(b []byte) bool {
	state := uint64(between)
	for len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b)
		b = b[8:]
		if w&highs == 0 && state&63 == between {
			continue
		}
		state = steps[byte(w)] >> (state & 63)
		state = steps[byte(w>>8)] >> (state & 63)
		state = steps[byte(w>>16)] >> (state & 63)
		state = steps[byte(w>>24)] >> (state & 63)
		state = steps[byte(w>>32)] >> (state & 63)
		state = steps[byte(w>>40)] >> (state & 63)
		state = steps[byte(w>>48)] >> (state & 63)
		state = steps[w>>56] >> (state & 63)
	}
	for _, c := range b {
		state = steps[c] >> (state & 63)
	}
	return state&63 == between
}
