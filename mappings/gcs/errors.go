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

	"cloud.google.com/go/auth"
	"google.golang.org/api/googleapi"

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
	var res *googleapi.Error
	if errors.As(err, &res) {
		return res.Code
	}
	return 0
}

// answer is an error of the server's, told shortly.
type answer struct {
	err     error
	status  int
	message string
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
func (a *answer) Unwrap() error             { return a.err }
func (a *answer) RetryAfter() time.Duration { return a.after }

func answered(res *googleapi.Error) error {
	return &answer{err: res, status: res.Code, message: res.Message, after: pipeline.ParseRetryAfter(res.Header.Get("Retry-After"))}
}

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
	var token *auth.Error
	var res *googleapi.Error
	switch {
	case errors.As(err, &token):
		return untokened(op, token)
	case !errors.As(err, &res):
		return unanswered(op, err)
	}
	short := answered(res)
	switch {
	case busy(res):
		return pipeline.Environment(op, pipeline.Transient(short), busyHint)
	case res.Code == http.StatusUnauthorized:
		return pipeline.Environment(op, short, credentialsHint)
	case res.Code == http.StatusForbidden:
		return pipeline.Environment(op, short, rightsHint)
	case res.Code == http.StatusNotFound && bucket:
		return pipeline.Environment(op, short, bucketHint)
	case res.Code == http.StatusNotFound || res.Code == http.StatusGone:
		return &pipeline.Error{Op: op, Err: objects.Gone(short)}
	case upload && damaged(res):
		return &pipeline.Error{Op: op, Err: pipeline.Transient(fmt.Errorf("%w: %w", objects.ErrDigest, short))}
	case res.Code < 300: // an answer that cannot be read
		return pipeline.Environment(op, pipeline.Transient(short), endpointHint)
	}
	return &pipeline.Error{Op: op, Err: short}
}

// busy reports whether the same request may be answered later. Source: Cloud
// Storage, "HTTP status and error codes for JSON".
func busy(res *googleapi.Error) bool {
	switch res.Code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusForbidden:
		return slices.ContainsFunc(res.Errors, func(e googleapi.ErrorItem) bool {
			return e.Reason == "rateLimitExceeded" || e.Reason == "userRateLimitExceeded"
		})
	}
	return res.Code >= 500
}

// damaged reports whether an answer may be that to an upload whose digests are
// others.
func damaged(res *googleapi.Error) bool {
	return res.Code == http.StatusBadRequest &&
		(len(res.Errors) == 0 || slices.ContainsFunc(res.Errors, func(e googleapi.ErrorItem) bool { return e.Reason == "invalid" }))
}

// untokened is an error of the server that gives out tokens.
func untokened(op string, err *auth.Error) error {
	op = "getting a token while " + op
	if err.Response == nil { // no answer
		return pipeline.Environment(op, pipeline.Transient(located(err)), credentialsHint)
	}
	status := err.Response.StatusCode
	short := &answer{err: err, status: status, message: strings.Join(strings.Fields(err.Error()), " "), after: pipeline.ParseRetryAfter(err.Response.Header.Get("Retry-After"))}
	if status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout {
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
