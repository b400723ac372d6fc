package chromahttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// Client speaks to one database of a Chroma server. It is safe for concurrent
// use.
type Client struct {
	// MaxBatch is how many records a request may hold.
	MaxBatch int
	// Base64 says that the server takes embeddings as base64 of float32.
	Base64 bool
	// DatabaseID is the server's own id of the database.
	DatabaseID string

	http *http.Client
	api  string // …/api/v2
	root string // …/api/v2/tenants/T/databases/D
	head http.Header
}

// APIURL is the address of the API as chromadb's client makes it of
// CHROMA_HTTP_HOST, _PORT and _SSL: a host that begins with http is a whole URL,
// and its port is used or none.
func APIURL(cfg env.ChromaConfig) string {
	scheme, host, path := "http", cfg.Host, ""
	if strings.HasPrefix(host, "http") && strings.Contains(host, "/") {
		scheme, host, _ = strings.Cut(host, "://")
		host, path, _ = strings.Cut(host, "/")
	} else if !strings.HasPrefix(host, "http") {
		host = fmt.Sprintf("%s:%d", host, cfg.Port)
	}
	if cfg.SSL {
		scheme = "https"
	}
	path = "/" + strings.Trim(path, "/")
	if !strings.HasSuffix(path, "/api/v2") {
		path = strings.TrimSuffix(path, "/") + "/api/v2"
	}
	return scheme + "://" + host + path
}

// Dial proves that the server answers, and that tenant and database are there;
// chromadb's client makes neither.
func Dial(ctx context.Context, cfg env.ChromaConfig, conns int) (*Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost, t.MaxConnsPerHost = max(conns, 2), max(conns, 2)
	t.ExpectContinueTimeout = 10 * time.Second
	t.ResponseHeaderTimeout = 10 * time.Minute // a large upsert is indexed before it is answered
	if cfg.CAFile != "" {
		pool := x509.NewCertPool()
		if pem, err := os.ReadFile(cfg.CAFile); err != nil || !pool.AppendCertsFromPEM(pem) {
			return nil, pipeline.Usage("opening Chroma", errors.New("the file of CHROMA_SERVER_SSL_VERIFY has no certificates that can be read"), "name a PEM file")
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	c := &Client{http: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		api: APIURL(cfg), head: headers(cfg)}
	tenant := c.api + "/tenants/" + url.PathEscape(cfg.Tenant)
	c.root = tenant + "/databases/" + url.PathEscape(cfg.Database)
	var checks struct {
		MaxBatch int  `json:"max_batch_size"`
		Base64   bool `json:"supports_base64_encoding"`
	}
	if err := c.do(ctx, "asking Chroma for its limits", http.MethodGet, c.api+"/pre-flight-checks", nil, &checks); err != nil {
		return nil, notThere(err, "Chroma's API v2", "name a Chroma server of version 1.0 or later in CHROMA_HTTP_HOST")
	}
	c.MaxBatch, c.Base64 = checks.MaxBatch, checks.Base64
	if c.MaxBatch < 1 {
		c.MaxBatch = 1000
	}
	if err := c.do(ctx, "looking for the tenant", http.MethodGet, tenant, nil, nil); err != nil {
		return nil, notThere(err, "tenant "+cfg.Tenant, "create it, or correct CHROMA_TENANT: Open WebUI does not make it either")
	}
	var database struct {
		ID string `json:"id"`
	}
	if err := c.do(ctx, "looking for the database", http.MethodGet, c.root, nil, &database); err != nil {
		return nil, notThere(err, "database "+cfg.Database, "create it, or correct CHROMA_DATABASE: Open WebUI does not make it either")
	}
	c.DatabaseID = database.ID
	return c, nil
}

// headers are those of chromadb's client: the configured ones, then its own.
func headers(cfg env.ChromaConfig) http.Header {
	h := http.Header{}
	for k, v := range cfg.Headers {
		h.Set(k, strings.TrimSpace(v.Reveal()))
	}
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "outgrow")
	switch {
	case cfg.AuthProvider == env.ChromaBasicAuth:
		h.Set("Authorization", "Basic "+cfg.BasicAuth())
	case cfg.AuthProvider == env.ChromaTokenAuth && cfg.TokenHeader == "X-Chroma-Token":
		h.Set("X-Chroma-Token", cfg.AuthCredentials.Reveal())
	case cfg.AuthProvider == env.ChromaTokenAuth:
		h.Set("Authorization", "Bearer "+cfg.AuthCredentials.Reveal())
	}
	return h
}

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// large is the length from which a body waits for the server's consent, so
// that a refusal for its length is not lost in a broken connection.
const large = 1 << 20

// payload is the longest body that a Chroma server takes unless it is told
// otherwise, in bytes: max_payload_size_bytes of chromadb 1.5.9. Having read
// that much it answers 413 and hangs up, and the answer may be lost with the
// connection that is still being written to.
const payload = 40 << 20

// send makes a request; the response's body is the caller's to close. An answer
// that is no success is an error.
func (c *Client) send(ctx context.Context, op, method, address string, body []byte) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, r)
	if err != nil {
		return nil, pipeline.Usage(op, errors.New("the server's address cannot be used"), "check CHROMA_HTTP_HOST, CHROMA_TENANT and CHROMA_DATABASE")
	}
	req.Header = c.head.Clone()
	if len(body) > large {
		req.Header.Set("Expect", "100-continue")
	}
	res, err := c.http.Do(req)
	if err != nil {
		if len(body) > payload && (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)) {
			return nil, &pipeline.Error{Op: op, Err: &Answer{Status: http.StatusRequestEntityTooLarge,
				Message: fmt.Sprintf("it hung up on a request of %d bytes", len(body))}}
		}
		return nil, failed(ctx, op, err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close()
	return nil, refused(op, res)
}

// do makes a request and decodes its answer into out, which may be nil.
func (c *Client) do(ctx context.Context, op, method, address string, body []byte, out any) error {
	res, err := c.send(ctx, op, method, address, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return failed(ctx, op, err)
		}
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return failed(ctx, op, err)
	}
	_, _ = io.Copy(io.Discard, res.Body) // so that the connection can be used again
	return nil
}
