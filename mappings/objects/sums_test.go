package objects

import "testing"

func TestHasher(t *testing.T) {
	// The check values of the algorithms' own definitions for "123456789" and "".
	const all = CRC32C | MD5 | SHA256
	h := NewHasher(all)
	_, _ = h.Write([]byte("1234"))
	_, _ = h.Write([]byte("56789"))
	want := Sums{CRC32C: "e3069283", MD5: "25f9e794323b453885f5181f1b624d0b", SHA256: "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"}
	if got := h.Sums(); got != want || h.Bytes() != 9 {
		t.Errorf("%+v of %d bytes", got, h.Bytes())
	}
	if got := SumsOfBytes(MD5, []byte("123456789")); got != want.Only(MD5) || got.Known() != MD5 {
		t.Errorf("%+v", got)
	}
	if got := SumsOfBytes(CRC32C, nil).CRC32C; got != "00000000" {
		t.Error(got)
	}
}

func TestSumsCompare(t *testing.T) {
	for _, tt := range []struct {
		a, b          Sums
		same, decided bool
	}{
		{Sums{}, Sums{}, true, false},
		{Sums{MD5: "1"}, Sums{CRC32C: "1"}, true, false},
		{Sums{MD5: "1", CRC32C: "2"}, Sums{CRC32C: "2"}, true, true},
		{Sums{MD5: "1", CRC32C: "2"}, Sums{MD5: "3", CRC32C: "2"}, false, true},
	} {
		if same, decided := tt.a.Compare(tt.b); decided != tt.decided || decided && same != tt.same {
			t.Errorf("%+v, %+v: %v, %v", tt.a, tt.b, same, decided)
		}
	}
	if got := (Sums{MD5: "1"}).Or(Sums{MD5: "2", SHA256: "3"}); got != (Sums{MD5: "1", SHA256: "3"}) {
		t.Errorf("%+v", got)
	}
}
