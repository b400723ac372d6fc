package env

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Client auth providers of chromadb 1.5.9 (chromadb/auth): the only ones that
// its client has.
const (
	ChromaTokenAuth = "chromadb.auth.token_authn.TokenAuthClientProvider"
	ChromaBasicAuth = "chromadb.auth.basic_authn.BasicAuthClientProvider"
)

// chromaTokenHeaders are what chromadb lets the token travel in.
var chromaTokenHeaders = []string{"Authorization", "X-Chroma-Token"}

func (l *loader) chroma(c *ChromaConfig) {
	c.Tenant, c.Database = "default_tenant", "default_database"
	if s := l.vars["CHROMA_TENANT"]; s != "" {
		c.Tenant = s
	}
	if s := l.vars["CHROMA_DATABASE"]; s != "" {
		c.Database = s
	}
	if l.vars["CHROMA_HTTP_HOST"] == "" {
		return
	}
	c.Host, c.Port = l.vars["CHROMA_HTTP_HOST"], 8000
	l.chromaHost(c.Host)
	if s, ok := l.vars["CHROMA_HTTP_PORT"]; ok {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 || n > 65535 {
			l.fail("CHROMA_HTTP_PORT", fmt.Sprintf("%q is no port: Open WebUI cannot start with it", s), "write the server's port, such as 8000, or remove it")
		}
		c.Port = n
	}
	if strings.HasPrefix(c.Host, "http") && l.vars["CHROMA_HTTP_PORT"] != "" {
		l.warn("CHROMA_HTTP_PORT", "is not used: chromadb takes a CHROMA_HTTP_HOST that begins with http for a whole URL", "put the port into that URL, or write the bare host name")
	}
	c.SSL = l.isTrue("CHROMA_HTTP_SSL", false)
	l.chromaHeaders(c)
	l.chromaAuth(c)
	// Settings that chromadb's client itself reads from the environment.
	if s := l.vars["CHROMA_SERVER_SSL_VERIFY"]; s != "" {
		if _, err := os.Stat(s); err != nil {
			l.fail("CHROMA_SERVER_SSL_VERIFY", fmt.Sprintf("%q is no file here: chromadb takes the value for a file with certificates, also false", s),
				"name the file with the authority's certificate, or remove it")
		}
		c.CAFile = s
	}
}

// chromaHost checks what chromadb's client makes a URL of.
func (l *loader) chromaHost(host string) {
	if strings.HasPrefix(host, "http") && strings.Contains(host, "/") {
		if u, err := url.Parse(host); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			l.fail("CHROMA_HTTP_HOST", "is not a URL that begins with http:// or https://", "write the bare host name, or http://HOST:PORT")
		}
		return
	}
	if strings.Contains(host, "/") {
		l.fail("CHROMA_HTTP_HOST", "is neither a host name nor a URL with http:// or https://", "write the bare host name, or http://HOST:PORT")
	} else if !strings.HasPrefix(host, "[") && strings.Contains(host, ":") {
		l.fail("CHROMA_HTTP_HOST", "has a port, which chromadb's client does not understand there", "write the host name alone and its port in CHROMA_HTTP_PORT")
	}
}

// chromaHeaders splits "a=b,c=d" at every comma and every "=", as Open WebUI
// does: it cannot start with a pair that has not exactly one "=".
func (l *loader) chromaHeaders(c *ChromaConfig) {
	s := l.vars["CHROMA_HTTP_HEADERS"]
	if s == "" {
		return
	}
	c.Headers = map[string]Secret{}
	for i, pair := range strings.Split(s, ",") {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || strings.Contains(value, "=") {
			l.fail("CHROMA_HTTP_HEADERS", fmt.Sprintf("pair %d is not NAME=VALUE with one \"=\": Open WebUI cannot start with it", i+1), "write NAME=VALUE,NAME=VALUE; a value can have neither \",\" nor \"=\"")
			continue
		}
		c.Headers[name] = Secret(value)
	}
}

func (l *loader) chromaAuth(c *ChromaConfig) {
	c.AuthProvider, c.AuthCredentials = l.vars["CHROMA_CLIENT_AUTH_PROVIDER"], Secret(l.vars["CHROMA_CLIENT_AUTH_CREDENTIALS"])
	c.TokenHeader = chromaTokenHeaders[0]
	switch c.AuthProvider {
	case "":
		if c.AuthCredentials != "" {
			l.warn("CHROMA_CLIENT_AUTH_CREDENTIALS", "is not used without CHROMA_CLIENT_AUTH_PROVIDER", "set CHROMA_CLIENT_AUTH_PROVIDER="+ChromaTokenAuth)
		}
		return
	case ChromaTokenAuth:
		if s := l.vars["CHROMA_AUTH_TOKEN_TRANSPORT_HEADER"]; s != "" {
			if c.TokenHeader = s; !slices.Contains(chromaTokenHeaders, s) {
				l.fail("CHROMA_AUTH_TOKEN_TRANSPORT_HEADER", fmt.Sprintf("chromadb knows no %q", s), "write one of "+strings.Join(chromaTokenHeaders, ", "))
			}
		}
		for _, r := range c.AuthCredentials.Reveal() {
			if r <= ' ' || r > '~' {
				l.fail("CHROMA_CLIENT_AUTH_CREDENTIALS", "has characters that chromadb allows in no token", "use ASCII letters, digits and punctuation")
				break
			}
		}
	case ChromaBasicAuth:
		if !strings.Contains(c.AuthCredentials.Reveal(), ":") && c.AuthCredentials != "" {
			l.warn("CHROMA_CLIENT_AUTH_CREDENTIALS", "has no \":\" between user and password", "write USER:PASSWORD")
		}
	default:
		l.fail("CHROMA_CLIENT_AUTH_PROVIDER", fmt.Sprintf("chromadb has no client auth provider %q", c.AuthProvider), "write "+ChromaTokenAuth+" or "+ChromaBasicAuth)
	}
	if c.AuthCredentials == "" {
		l.fail("CHROMA_CLIENT_AUTH_CREDENTIALS", "is missing: the auth provider needs it", "set the token, or USER:PASSWORD for basic auth")
	}
}

// chromaSecrets gives every secret of the configuration to add, in every form
// in which it travels.
func chromaSecrets(c ChromaConfig, add func(string)) {
	for _, v := range c.Headers {
		add(strings.TrimSpace(v.Reveal()))
	}
	creds := c.AuthCredentials.Reveal()
	add(creds)
	if c.AuthProvider == ChromaBasicAuth {
		_, password, _ := strings.Cut(creds, ":")
		add(password)
		add(c.BasicAuth())
	}
}
