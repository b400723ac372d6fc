package env

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestChroma(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]ChromaConfig{
		"VECTOR_DB=chroma":   {Tenant: "default_tenant", Database: "default_database"},
		"CHROMA_HTTP_HOST=c": {Host: "c", Port: 8000, TokenHeader: "Authorization", Tenant: "default_tenant", Database: "default_database"},
		"CHROMA_HTTP_HOST=http://c:9/x\nCHROMA_HTTP_SSL=True\nCHROMA_TENANT=t\nCHROMA_DATABASE=d": {Host: "http://c:9/x", Port: 8000, SSL: true,
			TokenHeader: "Authorization", Tenant: "t", Database: "d"},
		"CHROMA_HTTP_HOST=[::1]\nCHROMA_HTTP_PORT= 81 \nCHROMA_HTTP_HEADERS=a=b,X-C=d e\nCHROMA_SERVER_SSL_VERIFY=" + ca: {Host: "[::1]", Port: 81,
			Headers: map[string]Secret{"a": "b", "X-C": "d e"}, TokenHeader: "Authorization", CAFile: ca, Tenant: "default_tenant", Database: "default_database"},
		"CHROMA_HTTP_HOST=c\nCHROMA_CLIENT_AUTH_PROVIDER=" + ChromaTokenAuth + "\nCHROMA_CLIENT_AUTH_CREDENTIALS=tok3n\nCHROMA_AUTH_TOKEN_TRANSPORT_HEADER=X-Chroma-Token": {
			Host: "c", Port: 8000, AuthProvider: ChromaTokenAuth, AuthCredentials: "tok3n", TokenHeader: "X-Chroma-Token", Tenant: "default_tenant", Database: "default_database"},
		"CHROMA_HTTP_HOST=c\nCHROMA_CLIENT_AUTH_PROVIDER=" + ChromaBasicAuth + "\nCHROMA_CLIENT_AUTH_CREDENTIALS=u:p": {
			Host: "c", Port: 8000, AuthProvider: ChromaBasicAuth, AuthCredentials: "u:p", TokenHeader: "Authorization", Tenant: "default_tenant", Database: "default_database"},
	} {
		d, err := load(t, in)
		if err != nil || !reflect.DeepEqual(d.Vector.Chroma, want) {
			t.Errorf("%q: %v\ngot  %#v\nwant %#v", in, err, d.Vector.Chroma, want)
		}
	}
}

func TestChromaMistakes(t *testing.T) {
	const host = "CHROMA_HTTP_HOST=c\n"
	for in, want := range map[string]string{
		"CHROMA_HTTP_HOST=c/x":                                        "CHROMA_HTTP_HOST",
		"CHROMA_HTTP_HOST=http:/c":                                    "CHROMA_HTTP_HOST",
		host + "CHROMA_HTTP_PORT=":                                    "CHROMA_HTTP_PORT",
		host + "CHROMA_HTTP_PORT=80 00":                               "CHROMA_HTTP_PORT",
		host + "CHROMA_HTTP_HEADERS=a=b,c":                            "CHROMA_HTTP_HEADERS",
		host + "CHROMA_HTTP_HEADERS=a=b=":                             "CHROMA_HTTP_HEADERS",
		host + "CHROMA_SERVER_SSL_VERIFY=false":                       "CHROMA_SERVER_SSL_VERIFY",
		host + "CHROMA_CLIENT_AUTH_PROVIDER=token":                    "CHROMA_CLIENT_AUTH_PROVIDER CHROMA_CLIENT_AUTH_CREDENTIALS",
		host + "CHROMA_CLIENT_AUTH_PROVIDER=" + ChromaBasicAuth:       "CHROMA_CLIENT_AUTH_CREDENTIALS",
		"CHROMA_HTTP_HOST=c:1\nCHROMA_HTTP_PORT=x\nDATABASE_URL=oops": "DATABASE_URL CHROMA_HTTP_HOST CHROMA_HTTP_PORT",
		host + "CHROMA_CLIENT_AUTH_CREDENTIALS=a b\nCHROMA_AUTH_TOKEN_TRANSPORT_HEADER=X\nCHROMA_CLIENT_AUTH_PROVIDER=" + ChromaTokenAuth: "CHROMA_AUTH_TOKEN_TRANSPORT_HEADER CHROMA_CLIENT_AUTH_CREDENTIALS",
	} {
		_, err := load(t, in)
		var names []string
		for _, e := range ConfigErrors(err) {
			names = append(names, e.Variable)
			if e.Problem == "" || e.Fix == "" || strings.Contains(e.Error(), "a b") {
				t.Errorf("%q: %+v", in, e)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q: names %q, want %q", in, got, want)
		}
	}
	d, err := load(t, "CHROMA_HTTP_HOST=http://c\nCHROMA_HTTP_PORT=81\nCHROMA_CLIENT_AUTH_CREDENTIALS=x\n")
	if err != nil || len(d.Warnings) != 2 || d.Warnings[0].Variable != "CHROMA_HTTP_PORT" || d.Warnings[1].Variable != "CHROMA_CLIENT_AUTH_CREDENTIALS" {
		t.Errorf("%v, warnings %+v", err, d.Warnings)
	}
}

func TestChromaSecretsAreHidden(t *testing.T) {
	d, err := load(t, "CHROMA_HTTP_HOST=c\nCHROMA_HTTP_HEADERS=X-Key= headervalue\nCHROMA_CLIENT_AUTH_PROVIDER="+ChromaBasicAuth+"\nCHROMA_CLIENT_AUTH_CREDENTIALS=user:passw0rd\n")
	if err != nil {
		t.Fatal(err)
	}
	encoded := base64.StdEncoding.EncodeToString([]byte("user:passw0rd"))
	if d.Vector.Chroma.BasicAuth() != encoded {
		t.Errorf("basic auth sends %q", d.Vector.Chroma.BasicAuth())
	}
	got := d.Redact("said headervalue and passw0rd and " + encoded + " to c")
	if got != "said *** and *** and *** to c" {
		t.Errorf("shown: %q", got)
	}
}
