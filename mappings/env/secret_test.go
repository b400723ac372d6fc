package env

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
)

const secretsFile = `DATABASE_URL=postgresql://owner:pa%40ss%2Fword%25%20x@db/owui
VECTOR_DB=pgvector
PGVECTOR_DB_URL=postgresql://vec:vectorpass@vdb/vec?sslpassword=keypass
PGVECTOR_PGCRYPTO_KEY=cryptokey1
WEBUI_SECRET_KEY=t0p"s3cr3t
S3_SECRET_ACCESS_KEY=s3access
REDIS_URL=redis://:redispass@r:6379/0
AZURE_STORAGE_KEY=azkey99
OPENAI_API_KEY=sk-12345
SHORT_PASSWORD=q
`

// every spelling of every secret above
var spellings = []string{"pa@ss/word% x", "pa%40ss%2Fword%25%20x", "vectorpass", "keypass", "cryptokey1", `t0p"s3cr3t`, `t0p\"s3cr3t`,
	"s3access", "redispass", "azkey99", "sk-12345", url.QueryEscape("pa@ss/word% x")}

func TestNoSecretIsShown(t *testing.T) {
	d, err := load(t, secretsFile)
	if err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		fmt.Fprintf(&shown, verb+"\n", d)
		fmt.Fprintf(&shown, verb+"\n", &d)
		fmt.Fprintf(&shown, verb+"\n", d.SecretKey)
		fmt.Fprintf(&shown, verb+"\n", d.Vars)
		fmt.Fprintf(&shown, verb+"\n", []any{d.Database.URL})
	}
	slog.New(slog.NewJSONHandler(&shown, nil)).Info("x", "d", d, "s", d.SecretKey, "v", d.Vars)
	slog.New(slog.NewTextHandler(&shown, nil)).Info("x", "d", d, "s", d.SecretKey, "v", d.Vars)
	if err := json.NewEncoder(&shown).Encode(d); err != nil {
		t.Fatal(err)
	}
	if err := xml.NewEncoder(&shown).Encode(d.Database); err != nil {
		t.Fatal(err)
	}
	shown.WriteString(d.Database.Describe() + DescribeURL(d.Vector.PG.URL) + fmt.Errorf("x: %w", fmt.Errorf("%v", d.SecretKey)).Error())
	for _, s := range spellings {
		if strings.Contains(shown.String(), s) || strings.Contains(shown.String(), fmt.Sprintf("%x", s)) {
			t.Errorf("%q is shown", s)
		}
	}
	if !strings.Contains(shown.String(), "***") || !strings.Contains(shown.String(), "db/owui") {
		t.Error("nothing was printed")
	}
	if d.SecretKey.Reveal() != `t0p"s3cr3t` {
		t.Errorf("the value itself is %q", d.SecretKey.Reveal())
	}
}

func TestRedact(t *testing.T) {
	d, err := load(t, secretsFile)
	if err != nil {
		t.Fatal(err)
	}
	in := strings.Join(spellings, " ") + " query q: quota (q)"
	got := d.Redact(in)
	for _, s := range spellings {
		if strings.Contains(got, s) {
			t.Errorf("%q survives in %q", s, got)
		}
	}
	if !strings.HasSuffix(got, " query ***: quota (***)") {
		t.Errorf("short secret: %q", got)
	}
	const plain = "dial tcp 127.0.0.1:5432: connect: connection refused"
	if d.Redact(plain) != plain || d.Redact("") != "" || (Deployment{}).Redact(plain) != plain {
		t.Error("harmless text was changed")
	}
	// The whole URL, as a client's error may quote it.
	if got := d.Redact("cannot parse " + d.Database.URL.Reveal()); strings.Contains(got, "word") {
		t.Errorf("URL: %q", got)
	}
}
