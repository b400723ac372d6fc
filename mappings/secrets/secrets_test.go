package secrets

import (
	"os"
	"path/filepath"
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
	t.Parallel()
	for _, c := range []struct {
		name, secret, token string
		want                bool
	}{
		{"the specification's vector", specKey, specToken, true},
		{"the other alphabet of base64", "cw/0x689RpI+jtRR7oE8h/eQsKImvJapLeSbXpwF4e4=", specToken, true},
		{"without padding", specKey, specToken[:len(specToken)-2], true},
		{"a line break is part of the key", specKey + "\n", specToken, false},
		{"another key", "lab-secret", specToken, false},
		{"44 characters that are no Fernet key", "********************************************", specToken, false},
		{"damaged", specKey, specToken[:20] + "A" + specToken[21:], false},
		{"not a token", specKey, "plain text", false},
		{"no key", "", specToken, false},
		{"empty", specKey, "", false},
	} {
		if got := NewKeys(env.Secret(c.secret), nil)[Session].Opens(c.token); got != c.want {
			t.Errorf("%s: Opens = %v, want %v", c.name, got, c.want)
		}
	}
}

// A key file with a line break is two keys: what is stored tells which is used.
func TestFind(t *testing.T) {
	t.Parallel()
	token := []Token{{Session, specToken}}
	for _, c := range []struct {
		name, file, text string
		vars             map[string]env.Secret
		n                int
		from             string
		opens            int
	}{
		{"nothing", "", "", nil, 0, "", 0},
		{"the variable, whatever a file says", FileName, "x", map[string]env.Secret{"WEBUI_SECRET_KEY": specKey}, 1, "WEBUI_SECRET_KEY", 1},
		{"a file in DATA_DIR", "data/" + FileName, specKey, nil, 1, "data/" + FileName, 1},
		{"a file above it, with a line break", FileName, specKey + "\n", nil, 2, FileName, 1},
		{"a named file", "key", specKey + "\n", map[string]env.Secret{"WEBUI_SECRET_KEY_FILE": "key"}, 2, "key", 1},
		{"another key", FileName, "other", nil, 1, FileName, 0},
		{"an empty file", FileName, "\n", nil, 0, "", 0},
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "data"), 0o755); err != nil {
			t.Fatal(err)
		}
		if c.file != "" {
			if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		found := Find(env.Deployment{Mount: filepath.Join(dir, "data"), IsFolder: true, Vars: c.vars})
		best, trial, ok := Best(found, c.vars, token)
		stored, opens := trial.Total()
		from := best.From
		if filepath.IsAbs(from) {
			from, _ = filepath.Rel(dir, from)
		}
		if len(found) != c.n || ok != (c.n > 0) || from != c.from || stored != 1 || opens != c.opens || best.EndsInBreak {
			t.Errorf("%s: %d found, %v from %q, opens %d of %d, break %v", c.name, len(found), ok, from, opens, stored, best.EndsInBreak)
		}
	}
}
