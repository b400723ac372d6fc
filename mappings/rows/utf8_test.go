package rows

import (
	"testing"
	"unicode/utf8"
)

// Every text of up to three bytes, and of four with a lead that is allowed or
// nearly so, is judged as the standard library does, wherever it stands in a
// block of eight.
func TestValid(t *testing.T) {
	check := func(b []byte) {
		if valid(b) != utf8.Valid(b) {
			t.Fatalf("valid(%q) = %t", b, valid(b))
		}
	}
	bytes := []byte{0x00, 'a', 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff}
	check(nil)
	for a := range 256 {
		check([]byte{byte(a)})
		for b := range 256 {
			check([]byte{byte(a), byte(b)})
			for _, c := range bytes {
				check([]byte{byte(a), byte(b), c})
			}
		}
	}
	for at := range 9 {
		text := []byte("0123456789abcdef")
		for _, a := range bytes {
			for _, b := range bytes {
				for _, c := range bytes {
					for _, d := range bytes {
						copy(text[at:], []byte{a, b, c, d})
						check(text)
					}
				}
			}
		}
		for n := range text {
			check(text[:n])
		}
	}
}

func FuzzValid(f *testing.F) {
	f.Add([]byte("Überraschung: 年度报告 🚀"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if valid(b) != utf8.Valid(b) {
			t.Errorf("valid(%q) = %t", b, valid(b))
		}
	})
}
