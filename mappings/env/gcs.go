package env

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"
)

const gcsCredentials = "GOOGLE_APPLICATION_CREDENTIALS_JSON"

// gcs reads the variables of Google Cloud Storage. STORAGE_EMULATOR_HOST is one
// of Google's clients.
func (l *loader) gcs(c *GCSConfig) {
	c.Bucket = l.place("GCS_BUCKET_NAME", GCS, "bucket", "gs://")
	if strings.Contains(c.Bucket, "/") {
		l.fail("GCS_BUCKET_NAME", fmt.Sprintf("%q is not the name of a bucket", c.Bucket), "give the bucket alone: Open WebUI reads only what lies at its top")
	}
	c.Credentials = Secret(l.vars[gcsCredentials])
	if c.Credentials != "" {
		l.serviceAccount(c.Credentials)
	}
	const name = "STORAGE_EMULATOR_HOST"
	if v, given := l.vars[name]; given && v != "" {
		l.httpAddress(name, v, "or remove it for Google's")
		c.Emulator = strings.TrimRight(v, "/")
		if u, err := url.Parse(c.Emulator); err == nil && u.Host != "" && u.Path != "" {
			l.fail(name, "goes on after the host", "write "+u.Scheme+"://"+u.Host)
		}
	}
	if c.Emulator != "" && c.Credentials != "" {
		l.warn(gcsCredentials, "is used even with an emulator: Open WebUI asks the token_uri in it for a token first", "remove it, unless the emulator needs a token")
	}
}

// serviceAccount looks into the credentials: what Open WebUI cannot make a
// client of keeps it from starting.
func (l *loader) serviceAccount(s Secret) {
	var key map[string]json.RawMessage
	if err := json.Unmarshal([]byte(s.Reveal()), &key); err != nil {
		fix := "give the content of the service account's key file, in single quotes"
		if !strings.HasPrefix(strings.TrimSpace(s.Reveal()), "{") {
			fix += "; the path of such a file is GOOGLE_APPLICATION_CREDENTIALS"
		}
		l.fail(gcsCredentials, "is not a JSON object", fix)
		return
	}
	var missing []string
	text := map[string]string{}
	for _, name := range []string{"client_email", "private_key", "token_uri"} {
		var v string
		if json.Unmarshal(key[name], &v) != nil || v == "" {
			missing = append(missing, name)
		}
		text[name] = v
	}
	if len(missing) > 0 {
		l.fail(gcsCredentials, "is not a service account's key: there is no "+strings.Join(missing, ", no "), "give the content of the key file, whole")
		return
	}
	if block, _ := pem.Decode([]byte(text["private_key"])); block == nil {
		l.fail(gcsCredentials, "holds a private_key that is not PEM", `give the content of the key file as it is: the line ends in private_key are \n, and are kept by single quotes`)
	}
}

// gcsSecrets adds the private key in the credentials, as it is, as the JSON
// spells it, and line by line: an error may quote a part of it.
func gcsSecrets(s Secret, add func(string)) {
	var key struct {
		PrivateKey json.RawMessage `json:"private_key"`
	}
	if json.Unmarshal([]byte(s.Reveal()), &key) != nil || len(key.PrivateKey) == 0 {
		return
	}
	add(strings.Trim(string(key.PrivateKey), `"`))
	var text string
	if json.Unmarshal(key.PrivateKey, &text) != nil {
		return
	}
	add(text)
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); len(line) >= 8 && !strings.HasPrefix(line, "-----") {
			add(line)
		}
	}
}
