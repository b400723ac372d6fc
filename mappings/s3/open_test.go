package s3

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"outgrow/mappings/env"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

func TestPathStyle(t *testing.T) {
	for _, tt := range []struct {
		cfg  env.S3Config
		want bool
	}{
		{env.S3Config{}, false},
		{env.S3Config{AddressingStyle: "auto"}, false},
		{env.S3Config{AddressingStyle: "path"}, true},
		{env.S3Config{Endpoint: "http://minio:9000"}, true},
		{env.S3Config{Endpoint: "http://minio:9000", AddressingStyle: "auto"}, true},
		{env.S3Config{Endpoint: "http://minio:9000", AddressingStyle: "virtual"}, false},
		{env.S3Config{Accelerate: true}, false},
	} {
		if got := pathStyle(tt.cfg); got != tt.want {
			t.Errorf("%+v: %v", tt.cfg, got)
		}
	}
}

// answerOf is an answer as the SDK gives it.
func answerOf(status int, code string, header http.Header) error {
	return &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status, Header: header}},
		Err:      &smithy.GenericAPIError{Code: code, Message: "message"},
	}
}

func TestElsewhere(t *testing.T) {
	there := http.Header{"X-Amz-Bucket-Region": {"eu-central-1"}}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{answerOf(301, "PermanentRedirect", there), "eu-central-1"},
		{answerOf(400, "AuthorizationHeaderMalformed", there), "eu-central-1"},
		{answerOf(403, "AccessDenied", there), ""},
		{answerOf(301, "PermanentRedirect", nil), ""},
		{errors.New("no answer"), ""},
		{nil, ""},
	} {
		if got := elsewhere(tt.err); got != tt.want {
			t.Errorf("%v: %q", tt.err, got)
		}
	}
}

func TestClassify(t *testing.T) {
	b := &Bucket{}
	for _, tt := range []struct {
		status      int
		code        string
		retry       bool
		environment bool
	}{
		{503, "SlowDown", true, true},
		{500, "InternalError", true, true},
		{429, "TooManyRequests", true, true},
		{400, "RequestTimeout", true, true},
		{409, "ConditionalRequestConflict", true, true},
		{507, "XMinioStorageFull", true, true},
		{501, "NotImplemented", false, true},
		{403, "AccessDenied", false, true},
		{403, "RequestTimeTooSkewed", false, true},
		{403, "InvalidObjectState", false, false},
		{400, "BadDigest", true, false},
		{400, "InvalidRequest", false, false},
		{404, "NoSuchUpload", false, false},
		{404, "NoSuchBucket", false, true},
	} {
		err := b.Classify(t.Context(), "asking", answerOf(tt.status, tt.code, nil))
		if got := pipeline.ExitCode(err) == pipeline.ExitEnvironment; got != tt.environment || pipeline.IsRetryable(err) != tt.retry {
			t.Errorf("%d %s: exit %d, retryable %v: %v", tt.status, tt.code, pipeline.ExitCode(err), pipeline.IsRetryable(err), err)
		}
		if tt.environment && pipeline.HintOf(err) == "" {
			t.Errorf("%s has no hint", tt.code)
		}
		if (tt.code == "BadDigest") != errors.Is(err, objects.ErrDigest) {
			t.Errorf("%s: %v", tt.code, err)
		}
	}
	err := b.Classify(t.Context(), "asking", answerOf(503, "SlowDown", http.Header{"Retry-After": {"7"}}))
	if after := pipeline.Delayed(nil); !errors.As(err, &after) || after.RetryAfter() != 7*time.Second {
		t.Errorf("it does not say when to come back: %v", err)
	}
	if got, want := err.Error(), "asking: the server answers 503 SlowDown: message"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
