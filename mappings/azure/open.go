package azure

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"outgrow/mappings/env"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

const (
	scope    = "https://storage.azure.com/.default"
	pageSize = 5000            // objects of a listing at a time, the most that Azure gives
	retries  = 1               // of one request; the engine retries as well
	longest  = 1 * time.Second // between them
)

// Bucket is a deployment's container. It is safe for concurrent use.
type Bucket struct {
	cfg    env.AzureConfig
	client *container.Client
	page   int32 // tests: fewer objects at a time

	slashes struct { // whether a backslash finds them
		sync.Mutex
		known, same bool
	}
}

var _ objects.Bucket = (*Bucket)(nil)

// Open connects, and lists one object to see that the container is there and may
// be read. It changes nothing.
func Open(ctx context.Context, cfg env.AzureConfig) (*Bucket, error) {
	b := &Bucket{cfg: cfg, page: pageSize}
	var err error
	if b.client, err = connect(ctx, cfg); err != nil {
		return nil, err
	}
	if err = b.probe(ctx); err == nil {
		return b, nil
	}
	if err = b.ClassifyBucket(ctx, "opening "+Describe(cfg), err); ctx.Err() == nil && pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		hint := "check AZURE_STORAGE_ENDPOINT and AZURE_STORAGE_CONTAINER_NAME"
		if Emulated(cfg) {
			hint += "; Azurite needs --skipApiVersionCheck"
		}
		err = pipeline.Environment("connecting", err, hint)
	}
	return nil, err
}

func (b *Bucket) probe(ctx context.Context) error {
	one := int32(1)
	_, err := b.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{MaxResults: &one}).NextPage(ctx)
	return err
}

func connect(ctx context.Context, cfg env.AzureConfig) (*container.Client, error) {
	op, at := "connecting to "+Describe(cfg), cfg.ServiceURL()+"/"+cfg.Container
	opts := &container.ClientOptions{ClientOptions: options()}
	if cfg.Key == "" {
		token, err := find(ctx)
		if err != nil {
			return nil, err
		}
		client, err := container.NewClient(at, token, opts)
		if err != nil {
			return nil, pipeline.Environment(op, err, endpointHint)
		}
		return client, nil
	}
	key, err := container.NewSharedKeyCredential(cfg.Account(), cfg.Key.Reveal())
	if err != nil {
		return nil, pipeline.Environment(op, err, keyHint)
	}
	client, err := container.NewClientWithSharedKeyCredential(at, key, opts)
	if err != nil {
		return nil, pipeline.Environment(op, err, endpointHint)
	}
	return client, nil
}

func options() azcore.ClientOptions {
	t := objects.NewTransport()
	t.DisableCompression = true // what is stored packed is read as it is stored
	return azcore.ClientOptions{
		Transport: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Retry:     policy.RetryOptions{MaxRetries: retries, RetryDelay: 100 * time.Millisecond, MaxRetryDelay: longest},
		Telemetry: policy.TelemetryOptions{Disabled: true},
	}
}

// find finds the default credentials, and sees that they give a token.
func find(ctx context.Context) (azcore.TokenCredential, error) {
	const op = "finding the credentials of Azure"
	cred, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: options()})
	if err == nil {
		_, err = cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
	}
	switch {
	case err == nil:
		return cred, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return nil, untokened(op, err)
}

// Once makes a request that is sent only once, because its content is given up
// as soon as it has failed.
func Once(ctx context.Context) context.Context {
	return policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
}

// Config is what the bucket was opened with.
func (b *Bucket) Config() env.AzureConfig { return b.cfg }

// Blob is an object of the container, for the writer.
func (b *Bucket) Blob(key string) *blockblob.Client { return b.client.NewBlockBlobClient(key) }
