package secrets

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"outgrow/mappings/env"
)

// What testdata holds was made by Open WebUI 0.12.4's own functions: tokens.json
// under WEBUI_SECRET_KEY=plain-secret, one token of each kind, tokens-break.json
// under the same with a line break at its end.
func tokensOf(t *testing.T, file string) (tokens []Token) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var plain map[Kind]string
	if err := json.Unmarshal(text, &plain); err != nil {
		t.Fatal(err)
	}
	for kind, s := range plain {
		tokens = append(tokens, Token{kind, env.Secret(s)})
	}
	return tokens
}

func TestTokensOfOpenWebUI(t *testing.T) {
	t.Parallel()
	tokens := tokensOf(t, "tokens.json")
	for _, c := range []struct {
		name, secret string
		vars         map[string]env.Secret
		opens        int
	}{
		{"the key", "plain-secret", nil, 5},
		{"with a line break", "plain-secret\n", nil, 0},
		{"another", "other", nil, 0},
		{"none", "", nil, 0},
		{"sessions under a key of their own", "plain-secret", map[string]env.Secret{"OAUTH_SESSION_TOKEN_ENCRYPTION_KEY": "other"}, 4},
		{"second factors under a key of their own", "plain-secret", map[string]env.Secret{"MFA_ENCRYPTION_KEY": specKey}, 4},
	} {
		stored, opens := NewKeys(env.Secret(c.secret), c.vars).Try(tokens).Total()
		if stored != 5 || opens != c.opens {
			t.Errorf("%s: opens %d of %d, want %d of 5", c.name, opens, stored, c.opens)
		}
	}
}

// `open-webui serve` takes the key file as it is, the container's start script
// without the line break at its end: what is stored tells which it was.
func TestLineBreak(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte("plain-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	found := Find(env.Deployment{Mount: filepath.Join(dir, "data"), IsFolder: true})
	for file, want := range map[string]struct {
		key   string
		opens int
	}{"tokens.json": {"plain-secret", 5}, "tokens-break.json": {"plain-secret\n", 2}} {
		best, trial, ok := Best(found, nil, tokensOf(t, file))
		if _, opens := trial.Total(); !ok || best.Secret.Reveal() != want.key || opens != want.opens || best.EndsInBreak != (want.opens == 2) {
			t.Errorf("%s: the wrong reading, or it opens %d, want %d", file, opens, want.opens)
		}
	}
}
