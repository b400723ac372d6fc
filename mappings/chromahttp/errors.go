package chromahttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"outgrow/pipeline"
)

// Answer is what the server said instead of doing what it was asked for.
type Answer struct {
	Status int
	// Name is the server's own name of the error, "" when it gave none.
	Name    string
	Message string
	// After is how long the server wants to be left alone.
	After time.Duration
}

// Error gives status and message.
func (a *Answer) Error() string {
	if a.Message == "" {
		return fmt.Sprintf("the server answered %d %s", a.Status, http.StatusText(a.Status))
	}
	return fmt.Sprintf("the server answered %d: %s", a.Status, a.Message)
}

// RetryAfter is [pipeline.Delayed].
func (a *Answer) RetryAfter() time.Duration { return a.After }

// Missing reports whether the server does not have what was asked for.
func Missing(err error) bool {
	var a *Answer
	return errors.As(err, &a) && a.Status == http.StatusNotFound
}

// Refuses reports whether the server refused what a request held, rather than
// failed: 400, 413 and 422. Such a batch is halved.
func Refuses(err error) (*Answer, bool) {
	var a *Answer
	if !errors.As(err, &a) {
		return nil, false
	}
	return a, a.Status == http.StatusBadRequest || a.Status == http.StatusRequestEntityTooLarge || a.Status == http.StatusUnprocessableEntity
}

const serverHint = "check CHROMA_HTTP_HOST, CHROMA_HTTP_PORT and CHROMA_HTTP_SSL, and that the server runs and can be reached from here, then run the same command"

// refused turns an answer that is no success into an error.
func refused(op string, res *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
	a := &Answer{Status: res.StatusCode, After: retryAfter(res.Header.Get("Retry-After"))}
	var said struct{ Error, Message string }
	if json.Unmarshal(text, &said) == nil {
		a.Name, a.Message = said.Error, said.Message
	}
	if len(a.Message) > 300 {
		a.Message = a.Message[:300] + "…"
	}
	switch {
	case a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden:
		return pipeline.Environment(op, a, "check CHROMA_CLIENT_AUTH_PROVIDER, CHROMA_CLIENT_AUTH_CREDENTIALS and CHROMA_HTTP_HEADERS")
	case a.Status == http.StatusTooManyRequests || a.Status == http.StatusBadGateway || a.Status == http.StatusServiceUnavailable || a.Status == http.StatusGatewayTimeout ||
		a.Status == http.StatusRequestTimeout:
		return pipeline.Environment(op, pipeline.Transient(a), "the server is busy or starting: run the same command again, with lower --writers or a --rate")
	case a.Status == http.StatusInsufficientStorage:
		return pipeline.Environment(op, a, "free disk space on the server, then run the same command: it resumes")
	case a.Status >= 500:
		// A full disk is one of these, and nothing but the text tells it apart.
		return pipeline.Environment(op, pipeline.Transient(a), "look into the server's log, and whether its disk is full, then run the same command: it resumes")
	case a.Status/100 == 3 || a.Status == http.StatusGone:
		return pipeline.Environment(op, a, serverHint+"; the server must be of version 1.0 or later")
	}
	return &pipeline.Error{Op: op, Err: a}
}

// retryAfter reads the header in both of its forms (RFC 9110, section 10.2.3).
func retryAfter(s string) time.Duration {
	if n, err := strconv.Atoi(s); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// failed classifies an error of the connection. The address is left out: it
// may hold a password.
func failed(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	if errors.As(err, &syntax) || errors.As(err, &kind) {
		return pipeline.Environment(op, errors.New("what answers there does not speak Chroma's API v2"), serverHint)
	}
	if certificate(err) {
		return pipeline.Environment(op, err, "the server's certificate is not trusted here: name its authority's in CHROMA_SERVER_SSL_VERIFY")
	}
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return pipeline.Environment(op, err, serverHint)
	}
	return pipeline.Environment(op, pipeline.Transient(err), serverHint)
}

// notThere says more of a 404 while dialling; any other error stays.
func notThere(err error, what, fix string) error {
	if Missing(err) {
		return pipeline.Environment("opening Chroma", fmt.Errorf("the server has no %s", what), fix)
	}
	return err
}
