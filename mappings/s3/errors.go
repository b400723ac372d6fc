package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

const (
	keyHint    = "check S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY"
	rightsHint = "check S3_ACCESS_KEY_ID; the user needs s3:ListBucket and s3:GetObject, and of a target s3:PutObject, " +
		"s3:ListBucketMultipartUploads, s3:ListMultipartUploadParts, s3:AbortMultipartUpload and, with S3_ENABLE_TAGGING, s3:PutObjectTagging"
	bucketHint   = "check S3_BUCKET_NAME and S3_ENDPOINT_URL; the bucket has to be made beforehand"
	regionHint   = "check S3_REGION_NAME: the bucket is in another region"
	endpointHint = "check S3_ENDPOINT_URL, and that it is reached from here; then run the same command"
	clockHint    = "set this machine's clock: S3 takes a difference of at most 15 minutes"
	busyHint     = "the store is busy or limits the rate: run the same command, with fewer --writers or --rate"
)

// Code is the code by which a server names an error ("NoSuchBucket"), "" when
// there was no answer.
func Code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// Status is the HTTP status of the answer that err is of, 0 when there was
// none.
func Status(err error) int {
	var res *smithyhttp.ResponseError
	if errors.As(err, &res) {
		return res.HTTPStatusCode()
	}
	return 0
}

// answer is an error of the server's, told shortly.
type answer struct {
	err     error
	status  int
	code    string
	message string
	after   time.Duration
}

var _ pipeline.Delayed = (*answer)(nil)

func (a *answer) Error() string {
	s := fmt.Sprintf("the server answers %d %s", a.status, a.code)
	if a.message != "" && a.message != a.code {
		s += ": " + a.message
	}
	return s
}
func (a *answer) Unwrap() error             { return a.err }
func (a *answer) RetryAfter() time.Duration { return a.after }

// answered makes err short when it is an answer of the server's.
func answered(err error) error {
	var res *smithyhttp.ResponseError
	if !errors.As(err, &res) || res.Response == nil {
		return err
	}
	a := &answer{err: err, status: res.HTTPStatusCode(), code: http.StatusText(res.HTTPStatusCode())}
	var api smithy.APIError
	if errors.As(err, &api) {
		a.code, a.message = api.ErrorCode(), api.ErrorMessage()
	}
	a.after = pipeline.ParseRetryAfter(res.Response.Header.Get("Retry-After"))
	return a
}

// Classify says what an error of the client means: by the server's code or HTTP
// status alone, and by its type where there was no answer.
func (b *Bucket) Classify(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	status := Status(err)
	if status == 0 {
		return b.unanswered(op, err)
	}
	short := answered(err)
	switch Code(err) {
	case "NoSuchKey", "NoSuchUpload":
		return &pipeline.Error{Op: op, Err: objects.Gone(short)}
	case "NoSuchBucket":
		return pipeline.Environment(op, short, bucketHint)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired", "XAdminUserNotFound": // the last is versitygw's
		return pipeline.Environment(op, short, keyHint)
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "IncorrectEndpoint":
		return pipeline.Environment(op, short, regionHint)
	case "RequestTimeTooSkewed":
		return pipeline.Environment(op, short, clockHint)
	case "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "InvalidPart", "InvalidPartOrder":
		return &pipeline.Error{Op: op, Err: pipeline.Transient(fmt.Errorf("%w: %w", objects.ErrDigest, short))}
	case "InvalidObjectState":
		return &pipeline.Error{Op: op, Err: short, Hint: "it is in an archive: restore it first"}
	case "RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "OperationAborted", "ConditionalRequestConflict":
		return pipeline.Environment(op, pipeline.Transient(short), busyHint)
	}
	switch {
	case status == http.StatusNotFound && (Code(err) == "NotFound" || Code(err) == ""): // a HEAD has no code of its own
		return &pipeline.Error{Op: op, Err: objects.Gone(short)}
	case status == http.StatusUnauthorized:
		return pipeline.Environment(op, short, keyHint)
	case status == http.StatusForbidden:
		return pipeline.Environment(op, short, rightsHint)
	case status == http.StatusMovedPermanently || status == http.StatusTemporaryRedirect:
		return pipeline.Environment(op, short, regionHint)
	case status == http.StatusNotImplemented || status == http.StatusMethodNotAllowed:
		return pipeline.Environment(op, short, "check S3_ENDPOINT_URL: the server does not know a request that this needs")
	case status == http.StatusInsufficientStorage:
		return pipeline.Environment(op, pipeline.Transient(short), "make room in the store, then run the same command")
	case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status == http.StatusConflict:
		return pipeline.Environment(op, pipeline.Transient(short), busyHint)
	case status < 300: // an answer that cannot be read
		return pipeline.Environment(op, pipeline.Transient(short), endpointHint)
	}
	return &pipeline.Error{Op: op, Err: short}
}

// unanswered is an error before or instead of an answer: of the connection, or
// of what was to be sent.
func (b *Bucket) unanswered(op string, err error) error {
	var (
		sent   *smithyhttp.RequestSendError
		place  *url.Error
		params *smithy.InvalidParamsError
		unsent *smithy.SerializationError
	)
	if errors.As(err, &sent) && errors.As(sent.Err, &place) {
		err = place.Err // without the address, which may be long
	}
	switch {
	case errors.As(err, &params) || errors.As(err, &unsent):
		return &pipeline.Error{Op: op, Err: err}
	case objects.Untrusted(err):
		return pipeline.Environment(op, err, "check S3_ENDPOINT_URL (http or https), and AWS_CA_BUNDLE where the certificate is your own")
	}
	return pipeline.Environment(op, pipeline.Transient(err), endpointHint)
}
