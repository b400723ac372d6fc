package env

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Secret is text that must never be shown: printing (with any verb), logging
// and marshalling give "***".
type Secret string

// String hides the value.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString hides the value.
func (s Secret) GoString() string { return s.String() }

// Format hides the value from every verb, also from those that a string has
// not.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText hides the value.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the value.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Reveal gives the value to the client that needs it.
func (s Secret) Reveal() string { return string(s) }

// secretName matches the names of variables whose whole value is a secret.
var secretName = regexp.MustCompile(`(?i)(PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|_KEY$|_KEY_|API_KEY|CONNECTION_STRING|_SALT$)`)

// notSecretName excepts names that match but hold none.
var notSecretName = regexp.MustCompile(`(?i)^(S3_KEY_PREFIX|REDIS_KEY_PREFIX|TIKTOKEN_.*|.*_TOKENS?_(LIMIT|COUNT|SIZE).*|ENABLE_.*|PASSWORD_VALIDATION.*|.*_EXPIRES_IN)$`)

// Redact replaces every secret of the deployment in s by "***": passwords as
// they were written, percent-decoded and percent-encoded, keys, tokens. A
// secret shorter than four bytes is replaced only where it stands as a word of
// its own. Every text of an error goes through here before it is shown.
func (d Deployment) Redact(s string) string {
	if s == "" {
		return s
	}
	forms := d.secretForms()
	pairs := make([]string, 0, 2*len(forms))
	for _, f := range forms {
		if len(f) >= 4 {
			pairs = append(pairs, f, "***")
		}
	}
	s = strings.NewReplacer(pairs...).Replace(s)
	for _, f := range forms {
		if len(f) < 4 {
			s = replaceWord(s, f)
		}
	}
	return s
}

// secretForms lists every spelling of every secret, the longest first.
func (d Deployment) secretForms() []string {
	set := map[string]bool{}
	add := func(v string) {
		if v == "" {
			return
		}
		dec, err := url.PathUnescape(v)
		if err != nil {
			dec = v
		}
		for _, f := range []string{v, dec} {
			set[f] = true
			set[url.QueryEscape(f)] = true
			set[url.PathEscape(f)] = true
			set[strings.TrimPrefix(url.UserPassword("", f).String(), ":")] = true
			// The spelling inside Go's and JSON's quotes.
			set[strings.Trim(fmt.Sprintf("%q", f), `"`)] = true
		}
	}
	add(d.SecretKey.Reveal())
	add(d.Vector.PG.PGCryptoKey.Reveal())
	add(d.Vector.Qdrant.APIKey.Reveal())
	chromaSecrets(d.Vector.Chroma, add)
	if _, password, ok := strings.Cut(d.Vector.Milvus.Token.Reveal(), ":"); ok { // USER:PASSWORD
		add(password)
	}
	gcsSecrets(d.Vars[gcsCredentials], add)
	add(d.Files.Azure.Key.Reveal())
	addURL(d.Database.URL.Reveal(), add)
	addURL(d.Vector.PG.URL.Reveal(), add)
	for name, v := range d.Vars {
		if secretName.MatchString(name) && !notSecretName.MatchString(name) {
			add(v.Reveal())
			addURL("x://x:"+v.Reveal()+"@x", add) // joined as plain text
		}
		addURL(v.Reveal(), add)
	}
	delete(set, "")
	delete(set, "***")
	forms := make([]string, 0, len(set))
	for f := range set {
		forms = append(forms, f)
	}
	slices.SortFunc(forms, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return forms
}

// userInfo finds user and password in whatever looks like a URL; the password
// is taken up to the last @, and also up to the first, as readers differ.
var userInfo = regexp.MustCompile(`[A-Za-z][\w+.-]*://([^:/@\s]*):(\S*)`)

// passwordParam finds passwords and signatures given as a parameter of a URL or
// a DSN.
var passwordParam = regexp.MustCompile(`(?i)\b(?:(?:ssl)?password|sig)=([^&\s]+)`)

func addURL(v string, add func(string)) {
	for _, m := range userInfo.FindAllStringSubmatch(v, -1) {
		rest := m[2]
		if i := strings.IndexByte(rest, '@'); i >= 0 {
			add(rest[:i])
			head, _, _ := strings.Cut(rest, "?")
			if j := strings.LastIndexByte(head, '@'); j > i {
				add(rest[:j])
				// A reader that stops at the first @ takes what follows it
				// for the host: that part of the password is a secret too.
				for _, piece := range strings.FieldsFunc(rest[i+1:j], func(r rune) bool { return strings.ContainsRune("@/:", r) }) {
					add(piece)
				}
			}
		}
	}
	for _, m := range passwordParam.FindAllStringSubmatch(v, -1) {
		add(m[1])
	}
}

// replaceWord replaces word where no letter or digit adjoins it.
func replaceWord(s, word string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, word)
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		end := i + len(word)
		if (i > 0 && alnum(s[i-1])) || (end < len(s) && alnum(s[end])) {
			b.WriteString(s[:end])
		} else {
			b.WriteString(s[:i] + "***")
		}
		s = s[end:]
	}
}

func alnum(c byte) bool {
	return c == '_' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
