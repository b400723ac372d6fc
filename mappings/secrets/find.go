package secrets

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"outgrow/mappings/env"
)

// FileName is the file in which Open WebUI's start scripts keep a key that they
// made: in the folder they are started in, not in DATA_DIR.
const FileName = ".webui_secret_key"

// maxKeyFile bounds a key file, in bytes.
const maxKeyFile = 4096

// Found is a key and where it stands.
type Found struct {
	Secret env.Secret
	From   string // a variable or a file
	// EndsInBreak tells that the key's last character is a line break: `open-webui
	// serve` keeps the one of the file, the container's start script does not.
	EndsInBreak bool
}

// Find lists the keys that a deployment may be started with, the likeliest
// first. A given variable leaves no doubt. A file that ends in a line break is two
// keys: only what is stored tells which.
func Find(d env.Deployment) []Found {
	var out []Found
	add := func(s, from string) {
		if s != "" {
			out = append(out, Found{env.Secret(s), from, strings.HasSuffix(s, "\n")})
		}
	}
	if s := d.Vars["WEBUI_SECRET_KEY"].Reveal(); s != "" {
		add(s, "WEBUI_SECRET_KEY")
		return out
	}
	add(d.Vars["WEBUI_JWT_SECRET_KEY"].Reveal(), "WEBUI_JWT_SECRET_KEY")
	for _, name := range places(d) {
		text, err := readKey(name)
		if err != nil || !utf8.ValidString(text) {
			continue
		}
		// Python's read_text makes one character of every kind of line break.
		kept := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
		stripped := strings.TrimRight(text, "\n") // what $(cat FILE) gives
		add(stripped, name)
		if kept != stripped && strings.TrimSpace(kept) != "" {
			add(kept, name)
		}
	}
	return out
}

// places are the files that may hold the key, without repeats.
func places(d env.Deployment) []string {
	var out []string
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	if d.Mount != "" {
		parent := filepath.Dir(d.Mount)
		if name := d.Vars["WEBUI_SECRET_KEY_FILE"].Reveal(); name != "" {
			if !filepath.IsAbs(name) {
				name = filepath.Join(parent, name)
			}
			add(name)
		}
		add(filepath.Join(d.Mount, FileName))
		add(filepath.Join(parent, FileName)) // /app/backend, in a container
	}
	if !d.IsFolder && d.Origin != "" {
		add(filepath.Join(filepath.Dir(d.Origin), FileName))
	}
	if d.Side == "from" {
		add(FileName) // whoever started `open-webui serve` here calls this program here, too
	}
	return out
}

func readKey(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return "", os.ErrInvalid
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	return string(text), err
}

// Given is the key that the variables themselves name; false where none does.
func Given(vars map[string]env.Secret) (Found, bool) {
	for _, name := range []string{"WEBUI_SECRET_KEY", "WEBUI_JWT_SECRET_KEY"} {
		if s := vars[name]; s != "" {
			return Found{s, name, strings.HasSuffix(s.Reveal(), "\n")}, true
		}
	}
	return Found{}, false
}

// StandIns are the variables that replace WEBUI_SECRET_KEY for one kind of secret,
// or say that a kind is encrypted at all.
func StandIns() []string {
	return []string{"OAUTH_SESSION_TOKEN_ENCRYPTION_KEY", "OAUTH_CLIENT_INFO_ENCRYPTION_KEY", "MFA_ENCRYPTION_KEY", "ENABLE_VALVE_ENCRYPTION"}
}

// Best is the key that opens most of what is stored; the likeliest of those
// that open as much. ok is false where there is none.
func Best(found []Found, vars map[string]env.Secret, tokens []Token) (best Found, trial Trial, ok bool) {
	most := -1
	for _, f := range found {
		t := NewKeys(f.Secret, vars).Try(tokens)
		if _, n := t.Total(); n > most {
			best, trial, most = f, t, n
		}
	}
	if most < 0 {
		return Found{}, NewKeys("", vars).Try(tokens), false
	}
	return best, trial, true
}
