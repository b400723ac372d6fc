package s3

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"outgrow/mappings/env"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

const (
	defaultRegion = "us-east-1"
	idle          = 128             // connections that are kept open
	silence       = 5 * time.Minute // of a server, in the middle of an answer or before it
	attempts      = 2               // of one request; the engine retries as well
)

// Bucket is a deployment's part of a bucket. It is safe for concurrent use.
type Bucket struct {
	cfg    env.S3Config
	client *sdk.Client

	etags struct { // whether ETags are MD5s
		sync.Mutex
		known, md5 bool
	}
}

var _ objects.Bucket = (*Bucket)(nil)

// Open connects, and lists one object to see that the bucket is there and may
// be read. It changes nothing. On AWS a bucket of another region than the
// configured one is followed there, as boto3 does.
func Open(ctx context.Context, cfg env.S3Config) (*Bucket, error) {
	b := &Bucket{cfg: cfg}
	loaded, err := load(ctx, cfg)
	if err != nil {
		return nil, err
	}
	b.client = b.connect(loaded)
	err = b.probe(ctx)
	if region := elsewhere(err); cfg.Endpoint == "" && region != "" && region != loaded.Region {
		loaded.Region = region
		b.client = b.connect(loaded)
		err = b.probe(ctx)
	}
	if err == nil {
		return b, nil
	}
	if err = b.Classify(ctx, "opening "+Describe(cfg), err); ctx.Err() == nil && pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		err = pipeline.Environment("connecting", err, "check S3_ENDPOINT_URL, S3_BUCKET_NAME and S3_ACCESS_KEY_ID")
	}
	return nil, err
}

func (b *Bucket) probe(ctx context.Context) error {
	_, err := b.client.ListObjectsV2(ctx, &sdk.ListObjectsV2Input{Bucket: &b.cfg.Bucket, Prefix: &b.cfg.Prefix, MaxKeys: aws.Int32(1)})
	return err
}

// elsewhere is the region that a server names which has not got the bucket.
func elsewhere(err error) string {
	var res *smithyhttp.ResponseError
	if !errors.As(err, &res) || res.Response == nil {
		return ""
	}
	switch res.HTTPStatusCode() {
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusBadRequest:
		return res.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return ""
}

// load finds region, credentials and how to connect.
func load(ctx context.Context, cfg env.S3Config) (aws.Config, error) {
	client := awshttp.NewBuildableClient().WithReadTimeout(silence).WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 2*idle, idle
		t.ResponseHeaderTimeout = silence
	})
	opts := []func(*config.LoadOptions) error{
		config.WithHTTPClient(client),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts, o.MaxBackoff, o.RateLimiter = attempts, time.Second, ratelimit.None
			})
		}),
	}
	if cfg.Region != "" {
		opts = append(opts, config.WithRegion(cfg.Region))
	}
	keys := cfg.AccessKey != "" && cfg.SecretKey != ""
	if keys {
		opts = append(opts, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(cfg.AccessKey.Reveal(), cfg.SecretKey.Reveal(), "")))
	}
	const op = "finding the credentials of S3"
	loaded, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return loaded, pipeline.Environment(op, err, "look at AWS_PROFILE and the files below ~/.aws")
	}
	if loaded.Region == "" {
		loaded.Region = defaultRegion
	}
	if !keys {
		if _, err := loaded.Credentials.Retrieve(ctx); err != nil {
			if ctx.Err() != nil {
				return loaded, context.Cause(ctx)
			}
			return loaded, pipeline.Environment(op, err, "give S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, or run this where AWS's default credentials are")
		}
	}
	return loaded, nil
}

func (b *Bucket) connect(loaded aws.Config) *sdk.Client {
	return sdk.NewFromConfig(loaded, func(o *sdk.Options) {
		if b.cfg.Endpoint != "" {
			o.BaseEndpoint = aws.String(b.cfg.Endpoint)
		}
		o.UseAccelerate = b.cfg.Accelerate
		o.UsePathStyle = pathStyle(b.cfg)
		o.UseARNRegion = true
		// Checksums are sent where they are given: what the SDK would add by
		// itself comes in a trailer that not every server reads.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.DisableLogOutputChecksumValidationSkipped = true
	})
}

// pathStyle reports whether the bucket stands in the path. Source: botocore,
// args.py, compute_endpoint_resolver_builtin_defaults. What cannot stand in a
// host's name (an IP address, a bucket with capitals) goes into the path in any
// case: that is the SDK's own rule, and the same.
func pathStyle(cfg env.S3Config) bool {
	switch {
	case cfg.Accelerate:
		return false
	case cfg.Endpoint != "":
		return cfg.AddressingStyle != "virtual"
	}
	return cfg.AddressingStyle == "path"
}

// Config is what the bucket was opened with.
func (b *Bucket) Config() env.S3Config { return b.cfg }

// Client is the connection, for the writer.
func (b *Bucket) Client() *sdk.Client { return b.client }

// Key is the whole key of an object: below the prefix it is raw.
func (b *Bucket) Key(key string) string { return b.cfg.Prefix + key }

// aws reports whether the server is Amazon's, with what is known of it.
func (b *Bucket) aws() bool {
	return b.cfg.Endpoint == "" && !strings.HasSuffix(b.cfg.Bucket, "--x-s3") // directory buckets have other ETags
}
