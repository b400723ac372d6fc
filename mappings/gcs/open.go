package gcs

import (
	"context"
	"errors"
	"net/http"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/httptransport"
	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"

	"outgrow/mappings/env"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

const (
	google   = "https://storage.googleapis.com"
	scope    = storage.ScopeReadWrite
	tokenTry = 30 * time.Second // for a token
	attempts = 2                // of one request; the engine retries as well
)

// Bucket is a deployment's bucket. It is safe for concurrent use.
type Bucket struct {
	cfg    env.GCSConfig
	client *http.Client
	sdk    *storage.Client
	bucket *storage.BucketHandle
}

var _ objects.Bucket = (*Bucket)(nil)

// Open connects, and lists one object to see that the bucket is there and may
// be read. It changes nothing.
func Open(ctx context.Context, cfg env.GCSConfig) (*Bucket, error) {
	b := &Bucket{cfg: cfg}
	var err error
	if b.client, err = connect(cfg); err != nil {
		return nil, err
	}
	// The client has authenticated itself; without the second option the SDK
	// would look for credentials of its own.
	b.sdk, err = storage.NewClient(ctx, option.WithHTTPClient(b.client), option.WithoutAuthentication(),
		option.WithEndpoint(b.Endpoint()+"/storage/v1/"))
	if err != nil {
		return nil, pipeline.Environment("connecting to "+Describe(cfg), err, endpointHint)
	}
	b.sdk.SetRetry(storage.WithMaxAttempts(attempts), storage.WithBackoff(gax.Backoff{Initial: 100 * time.Millisecond, Max: time.Second}))
	b.bucket = b.sdk.Bucket(cfg.Bucket)
	if err = b.probe(ctx); err == nil {
		return b, nil
	}
	if err = b.ClassifyBucket(ctx, "opening "+Describe(cfg), err); ctx.Err() == nil && pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		err = pipeline.Environment("connecting", err, "check GCS_BUCKET_NAME and STORAGE_EMULATOR_HOST")
	}
	return nil, err
}

func (b *Bucket) probe(ctx context.Context) error {
	it := b.bucket.Objects(ctx, &storage.Query{Projection: storage.ProjectionNoACL})
	it.PageInfo().MaxSize = 1
	_, err := it.Next()
	if errors.Is(err, iterator.Done) {
		return nil
	}
	return err
}

// connect makes the client that authenticates itself.
func connect(cfg env.GCSConfig) (*http.Client, error) {
	opts := &httptransport.Options{BaseRoundTripper: objects.NewTransport(), DisableTelemetry: true}
	if cfg.Emulator != "" && cfg.Credentials == "" {
		opts.DisableAuthentication = true
	} else {
		creds, err := find(cfg)
		if err != nil {
			return nil, err
		}
		opts.Credentials = creds
	}
	client, err := httptransport.NewClient(opts)
	if err != nil {
		return nil, pipeline.Environment("connecting to "+Describe(cfg), err, credentialsHint)
	}
	// A 308 is an answer about a resumable upload, not a redirect.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client, nil
}

// find finds the credentials; it asks nobody for a token yet.
func find(cfg env.GCSConfig) (*auth.Credentials, error) {
	const op = "finding the credentials of Google Cloud Storage"
	opts := &credentials.DetectOptions{Scopes: []string{scope}, Client: &http.Client{Transport: objects.NewTransport(), Timeout: tokenTry}}
	if cfg.Credentials != "" {
		// Open WebUI takes nothing but a service account.
		creds, err := credentials.NewCredentialsFromJSON(credentials.ServiceAccount, []byte(cfg.Credentials.Reveal()), opts)
		if err != nil {
			return nil, pipeline.Environment(op, err, "give the whole JSON of a service account's key as GOOGLE_APPLICATION_CREDENTIALS_JSON")
		}
		return creds, nil
	}
	creds, err := credentials.DetectDefault(opts)
	if err != nil {
		return nil, pipeline.Environment(op, err, "give GOOGLE_APPLICATION_CREDENTIALS_JSON, or run this where Google's default credentials are")
	}
	return creds, nil
}

// Config is what the bucket was opened with.
func (b *Bucket) Config() env.GCSConfig { return b.cfg }

// Endpoint is the server, without a path or a slash at the end.
func (b *Bucket) Endpoint() string {
	if b.cfg.Emulator != "" {
		return b.cfg.Emulator
	}
	return google
}

// Client sends requests with the bucket's credentials, and follows no redirect.
func (b *Bucket) Client() *http.Client { return b.client }

// Handle is the bucket of Google's SDK.
func (b *Bucket) Handle() *storage.BucketHandle { return b.bucket }
