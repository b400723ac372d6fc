package pinecone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	sdk "github.com/pinecone-io/go-pinecone/v5/pinecone"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"outgrow/pipeline"
)

const (
	callTimeout = 60 * time.Second // of one request
	readyWait   = 5 * time.Minute  // for a new index
)

// delayed is an error of a server that said when to come back.
type delayed struct {
	err   error
	after time.Duration
}

func (d *delayed) Error() string             { return d.err.Error() }
func (d *delayed) Unwrap() error             { return d.err }
func (d *delayed) RetryAfter() time.Duration { return d.after }
func (d *delayed) Retryable() bool           { return true }

// throttled turns an HTTP 429 or 503 that names a time into an error that knows
// it: the SDK keeps the status alone.
type throttled struct{ next http.RoundTripper }

func (t *throttled) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.next.RoundTrip(r)
	if err != nil || (res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable) {
		return res, err
	}
	after := pipeline.ParseRetryAfter(res.Header.Get("Retry-After"))
	if after == 0 {
		return res, nil
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16))
	_ = res.Body.Close()
	return nil, &delayed{&sdk.PineconeError{Code: res.StatusCode, Msg: errors.New(res.Status)}, after}
}

// intercept bounds every request in time and keeps what a refusal says of when
// to come back: retry-after, or gRPC's own grpc-retry-pushback-ms.
func intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var head, tail metadata.MD
	err := invoke(call, method, req, reply, cc, append(opts, grpc.Header(&head), grpc.Trailer(&tail))...)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var after time.Duration
	for _, md := range []metadata.MD{head, tail} {
		for _, v := range md.Get("retry-after") {
			after = max(after, pipeline.ParseRetryAfter(v))
		}
		for _, v := range md.Get("grpc-retry-pushback-ms") {
			if ms, err := strconv.Atoi(v); err == nil && ms > 0 {
				after = max(after, min(time.Duration(ms)*time.Millisecond, pipeline.MaxRetryAfter))
			}
		}
	}
	if after > 0 && transientCode(status.Code(err)) {
		return &delayed{err, after}
	}
	return err
}

func transientCode(c codes.Code) bool {
	switch c {
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted, codes.DeadlineExceeded, codes.Internal:
		return true
	}
	return false
}

const (
	keyHint   = "check PINECONE_API_KEY: it must belong to the project of the index and be allowed to read and write"
	reachHint = "check that Pinecone is reached from here, and PINECONE_CONTROLLER_HOST where that is set"
	planHint  = "look at the plan and the quotas of the project in Pinecone's console"
)

// Classify says what an error of the SDK means for the engine: whether a retry
// may help, whose fault it is, and what to do. It goes by status codes alone.
func Classify(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
		return fmt.Errorf("%s: %w", op, cause)
	}
	if pe := (*pipeline.Error)(nil); errors.As(err, &pe) {
		return err
	}
	if e := (*sdk.PineconeError)(nil); errors.As(err, &e) {
		return rest(op, e.Code, err)
	}
	if s, ok := status.FromError(err); ok {
		return rpc(op, s.Code(), err)
	}
	if n := net.Error(nil); errors.As(err, &n) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return pipeline.Environment(op, pipeline.Transient(err), reachHint)
	}
	return fmt.Errorf("%s: %w", op, err)
}

func rest(op string, code int, err error) error {
	switch {
	case code == http.StatusUnauthorized:
		return pipeline.Environment(op, err, keyHint)
	case code == http.StatusForbidden || code == http.StatusPaymentRequired:
		return pipeline.Environment(op, err, planHint+"; "+keyHint)
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500:
		return pipeline.Environment(op, pipeline.Transient(err), reachHint)
	}
	return pipeline.Usage(op, err, "check the PINECONE_* variables")
}

func rpc(op string, code codes.Code, err error) error {
	switch {
	case code == codes.Unauthenticated || code == codes.PermissionDenied:
		return pipeline.Environment(op, err, keyHint)
	case code == codes.ResourceExhausted:
		return pipeline.Environment(op, pipeline.Transient(err), "Pinecone limits the rate or the plan is used up: wait, lower --rate, or "+planHint)
	case transientCode(code):
		return pipeline.Environment(op, pipeline.Transient(err), reachHint)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// IsData reports whether the server refused a request for what is in it.
func IsData(err error) bool {
	s, ok := status.FromError(err)
	return err != nil && ok && (s.Code() == codes.InvalidArgument || s.Code() == codes.OutOfRange)
}

// IsNotFound reports whether the server knows nothing of what was asked for.
func IsNotFound(err error) bool {
	s, ok := status.FromError(err)
	return err != nil && ok && s.Code() == codes.NotFound
}

// Message is what the server itself said.
func Message(err error) string {
	var own interface{ GRPCStatus() *status.Status }
	if errors.As(err, &own) {
		return own.GRPCStatus().Message()
	}
	return err.Error()
}
