// Package secrets finds a deployment's WEBUI_SECRET_KEY and tells whether it
// opens what Open WebUI has stored under it. It verifies the authentication code
// of a Fernet token and decrypts nothing. Sources: the Fernet specification
// (version 0x80, AES-128-CBC, HMAC-SHA-256 over all but the last 32 bytes, the
// key's first half signs); Open WebUI 0.12.4, utils/{oauth,valves,mfa,apps}.py
// and models/oauth_sessions.py, for how each kind's key is made.
package secrets

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"outgrow/mappings/env"
)

const (
	version = 0x80
	least   = 1 + 8 + 16 + 16 + 32 // version, time, IV, one block, code
)

// Kind says what a stored secret is, and with it how its key is made.
type Kind string

// The kinds of stored secrets.
const (
	Session Kind = "OAuth session" // oauth_session.token
	Client  Kind = "OAuth client"  // config tool_server.connections, info.oauth_client_info
	MFA     Kind = "second factor" // auth.mfa, secret
	App     Kind = "app key"       // app.api_key, app.data connection_token
	Valves  Kind = "valve setting" // function.valves, tool.valves and those in user.settings
)

// Token is one stored secret: try it, do not print it.
type Token struct {
	Kind Kind
	Text env.Secret
}

// Key is a Fernet key.
type Key struct{ signing []byte }

// Keys are the keys of one deployment, by kind.
type Keys map[Kind]Key

// NewKeys derives them from WEBUI_SECRET_KEY and the variables that replace it
// for one kind. A kind whose variable makes no key has none.
func NewKeys(secret env.Secret, vars map[string]env.Secret) Keys {
	k := Keys{}
	add := func(kind Kind, key Key, ok bool) {
		if ok {
			k[kind] = key
		}
	}
	for kind, variable := range map[Kind]string{Session: "OAUTH_SESSION_TOKEN_ENCRYPTION_KEY", Client: "OAUTH_CLIENT_INFO_ENCRYPTION_KEY", Valves: ""} {
		s := secret
		if own, given := vars[variable]; given {
			s = own
		}
		key, ok := hashed(s.Reveal())
		add(kind, key, ok)
	}
	if own := vars["MFA_ENCRYPTION_KEY"].Reveal(); own != "" {
		key, ok := fernet(own)
		add(MFA, key, ok)
	} else {
		key, ok := expanded(secret.Reveal(), "open-webui/mfa-encryption/v1")
		add(MFA, key, ok)
	}
	key, ok := expanded(secret.Reveal(), "open-webui-app-keys-v1")
	add(App, key, ok)
	return k
}

// hashed is SHA-256 of the secret; one of 44 characters is a Fernet key itself,
// and Open WebUI fails where it is not.
func hashed(s string) (Key, bool) {
	if utf8.RuneCountInString(s) == 44 {
		return fernet(s)
	}
	sum := sha256.Sum256([]byte(s))
	return Key{sum[:16]}, s != ""
}

func expanded(s, info string) (Key, bool) {
	raw, err := hkdf.Key(sha256.New, []byte(s), nil, info, 32)
	if err != nil || s == "" {
		return Key{}, false
	}
	return Key{raw[:16]}, true
}

// fernet reads a key in either alphabet of base64, as Python does.
func fernet(s string) (Key, bool) {
	raw, err := base64.URLEncoding.DecodeString(strings.NewReplacer("+", "-", "/", "_").Replace(s))
	if err != nil || len(raw) != 32 {
		return Key{}, false
	}
	return Key{raw[:16]}, true
}

// Opens reports whether the token was made with this key.
func (k Key) Opens(token string) bool {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(token, "="))
	if err != nil || len(raw) < least || raw[0] != version || k.signing == nil {
		return false
	}
	body, code := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	mac := hmac.New(sha256.New, k.signing)
	mac.Write(body)
	return hmac.Equal(mac.Sum(nil), code)
}

// Trial is what a try of all stored secrets gave, by kind.
type Trial struct{ Stored, Opens map[Kind]int }

// Try tries the keys on what is stored.
func (k Keys) Try(tokens []Token) Trial {
	t := Trial{map[Kind]int{}, map[Kind]int{}}
	for _, x := range tokens {
		t.Stored[x.Kind]++
		if k[x.Kind].Opens(x.Text.Reveal()) {
			t.Opens[x.Kind]++
		}
	}
	return t
}

// Total counts all kinds.
func (t Trial) Total() (stored, opens int) {
	for kind, n := range t.Stored {
		stored, opens = stored+n, opens+t.Opens[kind]
	}
	return stored, opens
}
