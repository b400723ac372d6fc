package gcs

import (
	"context"
	"net/http"

	"outgrow/mappings/env"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

// Bucket is a deployment's bucket. It is safe for concurrent use.
type Bucket struct {
	cfg    env.GCSConfig
	client *http.Client
}

var _ objects.Bucket = (*Bucket)(nil)

// Open connects, and lists one object to see that the bucket is there and may
// be read. It changes nothing.
func Open(ctx context.Context, cfg env.GCSConfig) (*Bucket, error) {
	client, err := connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	b := &Bucket{cfg: cfg, client: client}
	if _, err = b.page(ctx, "opening "+Describe(cfg), "", 1); err == nil {
		return b, nil
	}
	if ctx.Err() == nil && pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		err = pipeline.Environment("connecting", err, "check GCS_BUCKET_NAME and STORAGE_EMULATOR_HOST")
	}
	return nil, err
}

// connect makes the client that authenticates itself.
func connect(ctx context.Context, cfg env.GCSConfig) (*http.Client, error) {
	client := &http.Client{
		Transport: objects.NewTransport(),
		// A 308 is an answer about a resumable upload, not a redirect.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if cfg.Emulator != "" && cfg.Credentials == "" {
		return client, nil
	}
	creds, err := find(ctx, cfg)
	if err != nil {
		return nil, err
	}
	client.Transport = &authorized{base: client.Transport, tokens: creds.TokenSource, project: quotaProject(creds)}
	return client, nil
}

// Config is what the bucket was opened with.
func (b *Bucket) Config() env.GCSConfig { return b.cfg }
