package chroma

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pickles reads the pickles of the small stores.
func pickles(tb testing.TB) [][]byte {
	tb.Helper()
	var all [][]byte
	for _, name := range small {
		paths, err := filepath.Glob(filepath.Join(unpack(tb, name), "vector_db", "*", filePickle))
		if err != nil {
			tb.Fatal(err)
		}
		for _, p := range paths {
			b, err := os.ReadFile(p)
			if err != nil {
				tb.Fatal(err)
			}
			all = append(all, b)
		}
	}
	if len(all) < 10 {
		tb.Fatalf("only %d pickles", len(all))
	}
	return all
}

func parse(b []byte) (map[string]uint64, int64, error) {
	labels := map[string]uint64{}
	seq, err := readPickle(bytes.NewReader(b), int64(len(b)), func(id string, label uint64) error {
		labels[id] = label
		return nil
	})
	return labels, seq, err
}

func TestPickleForms(t *testing.T) {
	long := strings.Repeat("x", 300)
	root := "\x80\x02}(X\x0b\x00\x00\x00id_to_label"
	for _, c := range []struct {
		name, pickle string
		want         map[string]uint64
		seq          int64
	}{
		{"empty", root + "}u.", map[string]uint64{}, 0},
		{"SETITEM", root + "}\x8c\x01aK\x07su.", map[string]uint64{"a": 7}, 0},
		{"a chunk and one more", root + "}(\x8c\x01aK\x07u\x8c\x01bM\x00\x01su.", map[string]uint64{"a": 7, "b": 256}, 0},
		{"BINUNICODE and BININT", root + "}(X\x2c\x01\x00\x00" + long + "J\x00\x00\x01\x00uu.", map[string]uint64{long: 65536}, 0},
		{"LONG1", root + "}(\x8c\x01a\x8a\x05\x00\x00\x00\x00\x01uu.", map[string]uint64{"a": 1 << 32}, 0},
		{"ids from the memo", "\x80\x05}(\x8c\x0dlabel_to_id_x}(K\x01\x8c\x01a\x94u\x8c\x0bid_to_label}(h\x00K\x01uu.", map[string]uint64{"a": 1}, 0},
		{"BINPUT", "\x80\x02}(X\x0b\x00\x00\x00id_to_labelq\x00}(X\x01\x00\x00\x00aq\x01K\x01uX\x0a\x00\x00\x00max_seq_idq\x02K\x63u.", map[string]uint64{"a": 1}, 99},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, seq, err := parse([]byte(c.pickle))
			if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) || seq != c.seq {
				t.Errorf("got %v %d %v, want %v %d", got, seq, err, c.want, c.seq)
			}
		})
	}
}

func TestPickleRefuses(t *testing.T) {
	for name, p := range map[string]string{
		"GLOBAL":        "\x80\x02cos\nsystem\n(X\x02\x00\x00\x00lstR.",
		"REDUCE":        "\x80\x05\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R.",
		"another class": "\x80\x05\x8c\x02os\x8c\x06system\x93)\x81}b.",
		"no dict":       "\x80\x05K\x01.",
		"no labels":     "\x80\x05}.",
		"truncated":     "\x80\x05}(\x8c\x0bid_to_label}(\x8c\x01a",
		"empty":         "",
		"huge string":   "\x80\x05}(X\xff\xff\xff\xff",
		"memo bomb":     "\x80\x02}(X\x01\x00\x00\x00ar\xff\xff\xff\xff",
		"negative":      "\x80\x05}(\x8c\x0bid_to_label}(\x8c\x01aJ\xff\xff\xff\xffuu.",
		"deep":          "\x80\x05" + strings.Repeat("(", maxStack+1),
	} {
		if _, _, err := parse([]byte(p)); !errors.Is(err, errPickle) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPickleCut cuts every real pickle short, as a kill does.
func TestPickleCut(t *testing.T) {
	for _, p := range pickles(t) {
		labels, _, err := parse(p)
		if err != nil || len(labels) == 0 {
			t.Fatal(err, len(labels))
		}
		for n := 0; n < len(p)-1; n += 1 + n/7 {
			if _, _, err := parse(p[:n]); !errors.Is(err, errPickle) {
				t.Fatalf("cut at %d of %d: %v", n, len(p), err)
			}
		}
	}
}

// TestPickleMutated alters bytes of real pickles: never a panic, never more out
// than in, never an error of another kind.
func TestPickleMutated(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	all := pickles(t)
	for range 5000 {
		p := bytes.Clone(all[rnd.IntN(len(all))])
		for range 1 + rnd.IntN(4) {
			p[rnd.IntN(len(p))] = byte(rnd.Uint32())
		}
		if labels, _, err := parse(p); (err != nil && !errors.Is(err, errPickle)) || len(labels) > len(p) {
			t.Fatalf("%d labels of %d bytes, %v", len(labels), len(p), err)
		}
	}
}

func FuzzPickle(f *testing.F) {
	for _, p := range pickles(f) {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		n := 0
		_, err := readPickle(bytes.NewReader(p), int64(len(p)), func(id string, _ uint64) error {
			if n++; n > len(p) || len(id) > len(p) {
				t.Fatal("more out than in")
			}
			return nil
		})
		if err != nil && !errors.Is(err, errPickle) {
			t.Fatal(err)
		}
	})
}
