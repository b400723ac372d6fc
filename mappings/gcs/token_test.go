package gcs

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"golang.org/x/oauth2"
	auth "golang.org/x/oauth2/google"
)

type sender func(*http.Request) (*http.Response, error)

func (f sender) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

type tokens func() (*oauth2.Token, error)

func (f tokens) Token() (*oauth2.Token, error) { return f() }

// Requests carry the token and who pays, and the caller's own one stays as it is.
func TestAuthorized(t *testing.T) {
	var sent http.Header
	a := &authorized{tokens: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "t"}), project: "p",
		base: sender(func(req *http.Request) (*http.Response, error) {
			sent = req.Header
			return nil, errors.New("sent")
		})}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.RoundTrip(req); err == nil || sent.Get("Authorization") != "Bearer t" || sent.Get("X-Goog-User-Project") != "p" || len(req.Header) > 0 { //nolint:bodyclose // there is none
		t.Errorf("%v, %v, %v", sent, req.Header, err)
	}
}

// Who waits for a token that does not come can be stopped.
func TestTokenCancelled(t *testing.T) {
	reason, hold := errors.New("stopped"), make(chan struct{})
	defer close(hold)
	ctx, cancel := context.WithCancelCause(t.Context())
	a := &authorized{tokens: tokens(func() (*oauth2.Token, error) {
		cancel(reason)
		<-hold
		return nil, errors.New("late")
	})}
	if _, err := a.token(ctx); !errors.Is(err, reason) {
		t.Error(err)
	}
}

func TestQuotaProject(t *testing.T) {
	for text, want := range map[string]string{"": "", `{"quota_project_id": "q"}`: "q", `{"type": "service_account"}`: ""} {
		t.Setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "")
		if got := quotaProject(&auth.Credentials{JSON: []byte(text)}); got != want {
			t.Errorf("%q: %q", text, got)
		}
		t.Setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "env")
		if got := quotaProject(&auth.Credentials{JSON: []byte(text)}); got != "env" {
			t.Errorf("%q: %q", text, got)
		}
	}
}
