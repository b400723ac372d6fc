package gcs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

const (
	credentialsHint = "check GOOGLE_APPLICATION_CREDENTIALS_JSON, or Google's default credentials where it is not set"
	rightsHint      = "check GOOGLE_APPLICATION_CREDENTIALS_JSON; the account needs storage.objects.list and storage.objects.get on GCS_BUCKET_NAME, " +
		"and of a target storage.objects.create and storage.objects.delete (role Storage Object User)"
	bucketHint   = "check GCS_BUCKET_NAME; the bucket has to be made beforehand"
	endpointHint = "check that Google Cloud Storage (or STORAGE_EMULATOR_HOST, where that is set) is reached from here; then run the same command"
	busyHint     = "the store is busy or limits the rate: run the same command, with fewer --writers or --rate"
)

// Status is the HTTP status of the answer that err is of, 0 when there was
// none.
func Status(err error) int {
	var res *answer
	if errors.As(err, &res) {
		return res.status
	}
	return 0
}

// answer is an error of the server's, told shortly.
type answer struct {
	status  int
	message string
	reasons []string
	after   time.Duration
}

var _ pipeline.Delayed = (*answer)(nil)

func (a *answer) Error() string {
	s := fmt.Sprintf("the server answers %d", a.status)
	if text := http.StatusText(a.status); text != "" {
		s += " " + text
	}
	if a.message != "" && a.message != http.StatusText(a.status) {
		s += ": " + a.message
	}
	return s
}
func (a *answer) RetryAfter() time.Duration { return a.after }

// Classify says what an error of the client means, by the HTTP status and the
// reason that the server names, and by its type where there was no answer. A 404
// is that of an object.
func (b *Bucket) Classify(ctx context.Context, op string, err error) error {
	return b.classify(ctx, op, err, false, false)
}

// ClassifyBucket is [Bucket.Classify] for a request in which nothing but the
// bucket can be missing.
func (b *Bucket) ClassifyBucket(ctx context.Context, op string, err error) error {
	return b.classify(ctx, op, err, true, false)
}

// ClassifyUpload is [Bucket.ClassifyBucket] for a request that brings an object
// with its digests. GCS has one status for digests that are not those of what
// has arrived and for a request that is wrong: it is taken for the first.
func (b *Bucket) ClassifyUpload(ctx context.Context, op string, err error) error {
	return b.classify(ctx, op, err, true, true)
}

func (b *Bucket) classify(ctx context.Context, op string, err error, bucket, upload bool) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var token *untold
	var res *answer
	switch {
	case errors.As(err, &token):
		return untokened(op, token)
	case !errors.As(err, &res):
		return unanswered(op, err)
	case busy(res):
		return pipeline.Environment(op, pipeline.Transient(res), busyHint)
	case res.status == http.StatusUnauthorized:
		return pipeline.Environment(op, res, credentialsHint)
	case res.status == http.StatusForbidden:
		return pipeline.Environment(op, res, rightsHint)
	case res.status == http.StatusNotFound && bucket:
		return pipeline.Environment(op, res, bucketHint)
	case res.status == http.StatusNotFound || res.status == http.StatusGone:
		return &pipeline.Error{Op: op, Err: objects.Gone(res)}
	case upload && damaged(res):
		return &pipeline.Error{Op: op, Err: pipeline.Transient(fmt.Errorf("%w: %w", objects.ErrDigest, res))}
	}
	return &pipeline.Error{Op: op, Err: res}
}

// busy reports whether the same request may be answered later. Source: Cloud
// Storage, "HTTP status and error codes for JSON".
func busy(res *answer) bool {
	switch res.status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusForbidden:
		return slices.Contains(res.reasons, "rateLimitExceeded") || slices.Contains(res.reasons, "userRateLimitExceeded")
	}
	return res.status >= 500
}

// damaged reports whether an answer may be that to an upload whose digests are
// others.
func damaged(res *answer) bool {
	return res.status == http.StatusBadRequest && (len(res.reasons) == 0 || slices.Contains(res.reasons, "invalid"))
}

// untokened is an error of the server that gives out tokens.
func untokened(op string, err *untold) error {
	op = "getting a token while " + op
	var res *oauth2.RetrieveError
	if !errors.As(err, &res) || res.Response == nil { // no answer
		return pipeline.Environment(op, pipeline.Transient(located(err)), credentialsHint)
	}
	short := &answer{status: res.Response.StatusCode, message: strings.Join(strings.Fields(res.Error()), " "),
		after: pipeline.ParseRetryAfter(res.Response.Header.Get("Retry-After"))}
	if busy(short) {
		return pipeline.Environment(op, pipeline.Transient(short), credentialsHint)
	}
	return pipeline.Environment(op, short, credentialsHint)
}

// unanswered is an error before or instead of an answer: of the connection, or
// of what was to be sent.
func unanswered(op string, err error) error {
	if err = located(err); objects.Untrusted(err) {
		return pipeline.Environment(op, err, "check STORAGE_EMULATOR_HOST (http or https) where it is set, and the certificates of this machine")
	}
	return pipeline.Environment(op, pipeline.Transient(err), endpointHint)
}

// located takes the address out of an error: it may be long, and that of a
// resumable upload is a secret.
func located(err error) error {
	var place *url.Error
	if errors.As(err, &place) {
		return place.Err
	}
	return err
}
