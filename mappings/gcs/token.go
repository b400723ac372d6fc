package gcs

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"time"

	"golang.org/x/oauth2"
	auth "golang.org/x/oauth2/google"

	"outgrow/mappings/env"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

const (
	scope    = "https://www.googleapis.com/auth/devstorage.read_write"
	tokenTry = 30 * time.Second // for a token
)

// find finds the credentials; it asks nobody for a token yet.
func find(ctx context.Context, cfg env.GCSConfig) (*auth.Credentials, error) {
	const op = "finding the credentials of Google Cloud Storage"
	// Tokens are asked for as long as the bucket is used.
	ctx = context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, &http.Client{Transport: objects.NewTransport(), Timeout: tokenTry})
	if cfg.Credentials != "" {
		// Open WebUI takes nothing but a service account.
		creds, err := auth.CredentialsFromJSONWithType(ctx, []byte(cfg.Credentials.Reveal()), auth.ServiceAccount, scope)
		if err != nil {
			return nil, pipeline.Environment(op, err, "give the whole JSON of a service account's key as GOOGLE_APPLICATION_CREDENTIALS_JSON")
		}
		return creds, nil
	}
	creds, err := auth.FindDefaultCredentials(ctx, scope)
	if err != nil {
		return nil, pipeline.Environment(op, err, "give GOOGLE_APPLICATION_CREDENTIALS_JSON, or run this where Google's default credentials are")
	}
	return creds, nil
}

// quotaProject is the project that the use of a user's own credentials is
// counted to, "" for that of the bucket.
func quotaProject(creds *auth.Credentials) string {
	var file struct {
		Project string `json:"quota_project_id"`
	}
	_ = json.Unmarshal(creds.JSON, &file) // has been read before, or there is none
	return cmp.Or(os.Getenv("GOOGLE_CLOUD_QUOTA_PROJECT"), file.Project)
}

// authorized sends requests with a token.
type authorized struct {
	base    http.RoundTripper
	tokens  oauth2.TokenSource
	project string
}

// untold is an error of who was to give a token.
type untold struct{ error }

func (u *untold) Unwrap() error { return u.error }

// RoundTrip does not wait for a token longer than the request may take.
func (a *authorized) RoundTrip(req *http.Request) (*http.Response, error) {
	token, err := a.token(req.Context())
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	req = req.Clone(req.Context())
	token.SetAuthHeader(req)
	if a.project != "" {
		req.Header.Set("X-Goog-User-Project", a.project)
	}
	return a.base.RoundTrip(req)
}

func (a *authorized) token(ctx context.Context) (token *oauth2.Token, err error) {
	done := make(chan struct{})
	var got *oauth2.Token
	var failed error
	go func() {
		defer close(done)
		got, failed = a.tokens.Token()
	}()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-done:
	}
	if failed != nil {
		return nil, &untold{failed}
	}
	return got, nil
}
