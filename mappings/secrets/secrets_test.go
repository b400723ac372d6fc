package secrets

import (
	"testing"

	"outgrow/mappings/env"
)

// The token of the Fernet specification's own test vector, made with the key
// beside it.
const (
	specKey   = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
	specToken = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=="
)

func TestOpens(t *testing.T) {
	cases := []struct {
		name   string
		secret string
		token  string
		want   bool
	}{
		{"the specification's vector", specKey, specToken, true},
		{"without padding", specKey, specToken[:len(specToken)-2], true},
		{"another key", "lab-secret", specToken, false},
		{"damaged", specKey, specToken[:20] + "A" + specToken[21:], false},
		{"not a token", specKey, "plain text", false},
		{"empty", specKey, "", false},
	}
	for _, c := range cases {
		k, ok := NewKey(env.Secret(c.secret))
		if !ok {
			t.Fatalf("%s: no key", c.name)
		}
		if got := k.Opens(c.token); got != c.want {
			t.Errorf("%s: Opens = %v, want %v", c.name, got, c.want)
		}
	}
	if _, ok := NewKey(""); ok {
		t.Error("an empty secret gave a key")
	}
}
