package vectors

import (
	"testing"

	"outgrow/mappings/env"
)

func TestIterativeScan(t *testing.T) {
	for _, c := range []struct{ method, mode, version, want string }{
		{"", "relaxed_order", "0.8.5", "SET LOCAL ivfflat.iterative_scan = relaxed_order"},
		{"ivfflat", "strict_order", "0.8", "SET LOCAL ivfflat.iterative_scan = relaxed_order"},
		{"hnsw", "strict_order", "1.0", "SET LOCAL hnsw.iterative_scan = strict_order"},
		{"hnsw", "", "0.10.0", "SET LOCAL hnsw.iterative_scan = relaxed_order"},
		{"hnsw", "off", "0.8.5", ""}, {"hnsw", "strict_order", "0.7.4", ""}, {"hnsw", "strict_order", "", ""},
	} {
		cfg := env.PGVectorConfig{IndexMethod: c.method, IterativeScan: c.mode}
		if got := PG(cfg).IterativeScan(cfg, c.version); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestDescribe(t *testing.T) {
	for want, cfg := range map[string]env.PGVectorConfig{
		"pgvector vector(1536), ivfflat":          {MaxLength: 1536, URL: "postgresql://u:secret@h/d"},
		"pgvector halfvec(3072), hnsw, encrypted": {MaxLength: 3072, HalfVec: true, PGCrypto: true, PGCryptoKey: "secret"},
	} {
		if got := Describe(cfg); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if IDSpace("a") != IDSpace("b") {
		t.Error("pgvector has more than one id space")
	}
}
