package milvus

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"outgrow/pipeline"
)

func TestErrorsByCode(t *testing.T) {
	long := strings.Repeat("é", 4000)
	for _, c := range []struct {
		name  string
		err   error
		st    *commonpb.Status
		retry bool
		exit  int
	}{
		{"fine", nil, &commonpb.Status{}, false, pipeline.ExitOK},
		{"unavailable", status.Error(codes.Unavailable, "x"), nil, true, pipeline.ExitEnvironment},
		{"throttled", status.Error(codes.ResourceExhausted, "x"), nil, true, pipeline.ExitEnvironment},
		{"slow", status.Error(codes.DeadlineExceeded, "x"), nil, true, pipeline.ExitEnvironment},
		{"no token", status.Error(codes.Unauthenticated, "x"), nil, false, pipeline.ExitEnvironment},
		{"no Milvus", status.Error(codes.Unimplemented, "x"), nil, false, pipeline.ExitEnvironment},
		{"cancelled", context.Canceled, nil, false, pipeline.ExitFailed},
		{"rate", nil, &commonpb.Status{Code: 8, ErrorCode: commonpb.ErrorCode_RateLimit}, true, pipeline.ExitEnvironment}, //nolint:staticcheck // what old servers send
		{"rate, old", nil, &commonpb.Status{ErrorCode: commonpb.ErrorCode_RateLimit}, true, pipeline.ExitEnvironment},     //nolint:staticcheck // what old servers send
		{"not ready", nil, &commonpb.Status{Code: 1}, true, pipeline.ExitEnvironment},
		{"says so", nil, &commonpb.Status{Code: 503, Retriable: true}, true, pipeline.ExitEnvironment},
		{"disk full", nil, &commonpb.Status{Code: 7}, false, pipeline.ExitEnvironment},
		{"memory", nil, &commonpb.Status{ErrorCode: commonpb.ErrorCode_MemoryQuotaExhausted}, false, pipeline.ExitEnvironment}, //nolint:staticcheck // what old servers send
		{"privilege", nil, &commonpb.Status{Code: 1401}, false, pipeline.ExitEnvironment},
		{"no database", nil, &commonpb.Status{Code: 800}, false, pipeline.ExitEnvironment},
		{"no index", nil, &commonpb.Status{Code: 700}, false, pipeline.ExitEnvironment},
		{"no node", nil, &commonpb.Status{Code: 65535}, false, pipeline.ExitFailed},
		{"broken", status.Error(codes.Internal, "x"), nil, false, pipeline.ExitFailed},
		{"parameter", nil, &commonpb.Status{Code: 1100, Reason: long}, false, pipeline.ExitFailed},
		{"unexpected", nil, &commonpb.Status{ErrorCode: commonpb.ErrorCode_UnexpectedError}, false, pipeline.ExitFailed}, //nolint:staticcheck // what old servers send
	} {
		err := Check("doing", bare{c.st}, c.err)
		if pipeline.IsRetryable(err) != c.retry || pipeline.ExitCode(err) != c.exit {
			t.Errorf("%s: retry %v, exit %d: %v", c.name, pipeline.IsRetryable(err), pipeline.ExitCode(err), err)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%s: %d bytes of error", c.name, len(err.Error()))
		}
		if err != nil && !errors.Is(err, context.Canceled) && pipeline.HintOf(err) == "" {
			t.Errorf("%s: no hint", c.name)
		}
	}
	if !NotFound(Check("", bare{&commonpb.Status{Code: 100}}, nil)) || NotFound(errors.New("x")) || NotFound(nil) {
		t.Error("NotFound")
	}
	if !Rejected(Check("", bare{&commonpb.Status{Code: 1100}}, nil)) || Rejected(Check("", bare{&commonpb.Status{Code: 8}}, nil)) || Rejected(status.Error(codes.Unavailable, "")) {
		t.Error("Rejected")
	}
}
