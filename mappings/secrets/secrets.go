// Package secrets tells whether a WEBUI_SECRET_KEY opens what Open WebUI has
// stored under it. It verifies the authentication code of a Fernet token and
// decrypts nothing. Sources: the Fernet specification (version 0x80, AES-128-CBC,
// HMAC-SHA-256 over all but the last 32 bytes, the key's first half signs);
// Open WebUI 0.12.4 derives the key as SHA-256 of the variable unless that is a
// 44 character Fernet key itself.
package secrets

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"outgrow/mappings/env"
)

const (
	version = 0x80
	least   = 1 + 8 + 16 + 16 + 32 // version, time, IV, one block, code
)

// Key is a Fernet key made of one of Open WebUI's variables.
type Key struct{ signing []byte }

// NewKey derives the key; ok is false for an empty secret.
func NewKey(secret env.Secret) (k Key, ok bool) {
	s := secret.Reveal()
	if s == "" {
		return Key{}, false
	}
	if len(s) == 44 {
		if raw, err := base64.URLEncoding.DecodeString(s); err == nil && len(raw) == 32 {
			return Key{raw[:16]}, true
		}
	}
	sum := sha256.Sum256([]byte(s))
	return Key{sum[:16]}, true
}

// Opens reports whether the token was made with this key.
func (k Key) Opens(token string) bool {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(token, "="))
	if err != nil || len(raw) < least || raw[0] != version {
		return false
	}
	body, code := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	mac := hmac.New(sha256.New, k.signing)
	mac.Write(body)
	return hmac.Equal(mac.Sum(nil), code)
}
