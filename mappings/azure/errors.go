package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

const (
	keyHint   = "check AZURE_STORAGE_KEY: it has to be key1 or key2 of the account in AZURE_STORAGE_ENDPOINT, and the account has to let this machine in"
	tokenHint = "give AZURE_STORAGE_KEY, or run this where Azure's default credentials are (a managed identity, AZURE_CLIENT_ID and the like, or az login)"
	roleHint  = "give the identity that is used without AZURE_STORAGE_KEY the role Storage Blob Data Reader on the container, of a target Storage Blob Data Contributor; " +
		"and the account has to let this machine in"
	containerHint = "check AZURE_STORAGE_CONTAINER_NAME; the container has to be made beforehand"
	endpointHint  = "check AZURE_STORAGE_ENDPOINT, and that it is reached from here; then run the same command"
	clockHint     = "set this machine's clock: Azure takes a difference of at most 15 minutes"
	busyHint      = "the store is busy or limits the rate: run the same command, with fewer --writers or --rate"

	skew = 15 * time.Minute
)

// Code is the code by which a server names an error ("BlobNotFound"), "" when
// there was no answer or it has none.
func Code(err error) bloberror.Code {
	var res *azcore.ResponseError
	if errors.As(err, &res) {
		return bloberror.Code(res.ErrorCode)
	}
	return ""
}

// Status is the HTTP status of the answer that err is of, 0 when there was
// none.
func Status(err error) int {
	var res *azcore.ResponseError
	if errors.As(err, &res) {
		return res.StatusCode
	}
	return 0
}

// answer is an error of the server's, told shortly.
type answer struct {
	err    error
	status int
	code   string
	after  time.Duration
}

var _ pipeline.Delayed = (*answer)(nil)

func (a *answer) Error() string {
	code := a.code
	if code == "" {
		code = http.StatusText(a.status)
	}
	return strings.TrimSpace(fmt.Sprintf("the server answers %d %s", a.status, code))
}
func (a *answer) Unwrap() error             { return a.err }
func (a *answer) RetryAfter() time.Duration { return a.after }

func answered(res *azcore.ResponseError) *answer {
	a := &answer{err: res, status: res.StatusCode, code: res.ErrorCode}
	if res.RawResponse != nil {
		a.after = pipeline.ParseRetryAfter(res.RawResponse.Header.Get("Retry-After"))
	}
	return a
}

// Classify says what an error of the client means: by the server's code or HTTP
// status alone, and by its type where there was no answer. A 404 without a code
// is that of an object. Source: "Status and error codes" and "Blob Storage error
// codes" of the REST reference.
func (b *Bucket) Classify(ctx context.Context, op string, err error) error {
	return b.classify(ctx, op, err, false)
}

// ClassifyBucket is [Bucket.Classify] for a request in which nothing but the
// container can be missing.
func (b *Bucket) ClassifyBucket(ctx context.Context, op string, err error) error {
	return b.classify(ctx, op, err, true)
}

// ClassifyUpload is [Bucket.Classify] for a request that brings a content with
// its MD5. Azurite calls a wrong one an invalid operation.
func (b *Bucket) ClassifyUpload(ctx context.Context, op string, err error) error {
	var res *azcore.ResponseError
	if ctx.Err() == nil && errors.As(err, &res) && res.StatusCode == http.StatusBadRequest && Emulated(b.cfg) && res.ErrorCode == "InvalidOperation" {
		return damaged(op, answered(res))
	}
	return b.classify(ctx, op, err, false)
}

func damaged(op string, short error) error {
	return &pipeline.Error{Op: op, Err: pipeline.Transient(fmt.Errorf("%w: %w", objects.ErrDigest, short))}
}

func (b *Bucket) classify(ctx context.Context, op string, err error, bucket bool) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var res *azcore.ResponseError
	if !errors.As(err, &res) {
		return unanswered(op, err)
	}
	short := answered(res)
	switch Code(err) {
	case bloberror.BlobNotFound, bloberror.ResourceNotFound:
		return &pipeline.Error{Op: op, Err: objects.Gone(short)}
	case bloberror.ContainerNotFound, bloberror.ContainerDisabled, bloberror.ContainerBeingDeleted:
		return pipeline.Environment(op, short, containerHint)
	case bloberror.MD5Mismatch, "Crc64Mismatch", bloberror.InvalidMD5:
		return damaged(op, short)
	case bloberror.InvalidURI, bloberror.InvalidResourceName:
		return &pipeline.Error{Op: op, Err: fmt.Errorf("%w: %w", objects.ErrName, short)}
	case "KeyBasedAuthenticationNotPermitted":
		return pipeline.Environment(op, short, "the account takes no keys: remove AZURE_STORAGE_KEY, and run this where Azure's default credentials are")
	case bloberror.AccountIsDisabled:
		return pipeline.Environment(op, short, "the storage account is disabled: look at the subscription")
	case bloberror.BlobArchived, bloberror.BlobBeingRehydrated:
		return &pipeline.Error{Op: op, Err: short, Hint: "it is in the archive tier: rehydrate it first"}
	case bloberror.LeaseIDMissing, bloberror.LeaseAlreadyPresent:
		return &pipeline.Error{Op: op, Err: short, Hint: "somebody holds a lease on it: break the lease, then run the same command"}
	case "BlobImmutableDueToPolicy":
		return &pipeline.Error{Op: op, Err: short, Hint: "the container keeps what it has (immutability policy), so nothing can be replaced: choose another, or run without --replace"}
	case bloberror.InvalidBlobType:
		return &pipeline.Error{Op: op, Err: short, Hint: "the target has a page or append blob of this name: remove it"}
	}
	return b.byStatus(op, res, short, bucket)
}

// byStatus classifies an answer whose code says nothing more.
func (b *Bucket) byStatus(op string, res *azcore.ResponseError, short error, bucket bool) error {
	switch status := res.StatusCode; {
	case status == http.StatusUnauthorized || status == http.StatusForbidden || res.ErrorCode == string(bloberror.InvalidAuthenticationInfo):
		return pipeline.Environment(op, short, b.refused(res))
	case status == http.StatusNotFound && bucket:
		return pipeline.Environment(op, short, containerHint)
	case status == http.StatusNotFound:
		return &pipeline.Error{Op: op, Err: objects.Gone(short)}
	case status == http.StatusBadRequest && res.ErrorCode == "" && !bucket:
		// Not the service's: what stands before it does not take the address.
		return &pipeline.Error{Op: op, Err: fmt.Errorf("%w: %w", objects.ErrName, short)}
	case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		return pipeline.Environment(op, pipeline.Transient(short), busyHint)
	case status < 400: // a redirect, or an answer that cannot be read
		return pipeline.Environment(op, pipeline.Transient(short), endpointHint)
	}
	return &pipeline.Error{Op: op, Err: short}
}

// refused is the hint for credentials that are refused.
func (b *Bucket) refused(res *azcore.ResponseError) string {
	if res.RawResponse != nil {
		if at, err := http.ParseTime(res.RawResponse.Header.Get("Date")); err == nil && time.Since(at).Abs() > skew {
			return clockHint
		}
	}
	if b.cfg.Key != "" {
		return keyHint
	}
	return roleHint
}

// untokened is an error of those that give out tokens, in one line.
func untokened(op string, err error) error {
	short := errors.New(strings.Join(strings.Fields(err.Error()), " "))
	var failed *azidentity.AuthenticationFailedError
	if !errors.As(err, &failed) {
		return pipeline.Environment(op, short, tokenHint)
	}
	if res := failed.RawResponse; res == nil || res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests {
		return pipeline.Environment(op, pipeline.Transient(short), tokenHint)
	}
	return pipeline.Environment(op, short, tokenHint)
}

// unanswered is an error before or instead of an answer: of the connection, or
// of what was to be sent.
func unanswered(op string, err error) error {
	var (
		failed *azidentity.AuthenticationFailedError
		place  *url.Error
	)
	if errors.As(err, &failed) {
		return untokened("getting a token while "+op, err)
	}
	if errors.As(err, &place) {
		err = place.Err // without the address, which may be long
	}
	if objects.Untrusted(err) {
		return pipeline.Environment(op, err, "check AZURE_STORAGE_ENDPOINT (http or https), and the certificates of this machine")
	}
	return pipeline.Environment(op, pipeline.Transient(err), endpointHint)
}
