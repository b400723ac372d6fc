package milvus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"outgrow/pipeline"
)

const (
	connectHint = "check MILVUS_URI, and that the server runs and is reached from here"
	serverHint  = "Milvus itself fails or refuses here, and its log says more; when that is mended, run the same command again"
)

// Codes of a Status (milvus pkg/util/merr/errors.go).
const (
	codeNotReady     = 1
	codeUnavailable  = 2
	codeMemoryLimit  = 3
	codeRequestLimit = 4
	codeDiskLimit    = 7
	codeRateLimit    = 8
	codeForceDeny    = 9
	codeNoCollection = 100
	codeNotLoaded    = 101
	codeLoading      = 103
	codeNoIndex      = 700
	codeNoDatabase   = 800
	codeParameter    = 1100
	codeUnauthorized = 1400
	codeNeedAuth     = 1800
	codeCanceled     = 10000
	codeTimeout      = 10001
)

// StatusError is what the server answered instead of doing what it was asked.
type StatusError struct {
	Code   int32              // of the server's own list, 0 for servers before 2.3
	Legacy commonpb.ErrorCode //nolint:staticcheck // of the older list, which some servers fill in alone
	Reason string
	retry  bool
}

// Error gives the server's words and code.
func (e *StatusError) Error() string { return fmt.Sprintf("%s (code %d)", e.Reason, e.Code) }

// Retryable reports whether the same request may succeed later.
func (e *StatusError) Retryable() bool {
	switch e.Code {
	case codeNotReady, codeUnavailable, codeRequestLimit, codeRateLimit, codeLoading, codeNotLoaded, codeTimeout, codeCanceled:
		return true
	}
	switch e.Legacy { //nolint:exhaustive // the others are for good
	case commonpb.ErrorCode_RateLimit, commonpb.ErrorCode_NotReadyServe, commonpb.ErrorCode_NotReadyCoordActivating, commonpb.ErrorCode_DataCoordNA,
		commonpb.ErrorCode_NotShardLeader, commonpb.ErrorCode_NoReplicaAvailable, commonpb.ErrorCode_TimeTickLongDelay:
		return true
	}
	return e.retry
}

// missing reports whether the server says that there is no such collection.
func (e *StatusError) missing() bool {
	return e.Code == codeNoCollection || e.Legacy == commonpb.ErrorCode_CollectionNotExists || e.Legacy == commonpb.ErrorCode_CollectionNameNotFound
}

// noIndex reports whether the server misses an index.
func (e *StatusError) noIndex() bool {
	return e.Code == codeNoIndex || e.Legacy == commonpb.ErrorCode_IndexNotExist
}

// NotFound reports whether an error says that there is no such collection.
func NotFound(err error) bool {
	var e *StatusError
	return errors.As(err, &e) && e.missing()
}

// Rejected reports whether the server refused a request for what it holds: a
// smaller one, or one without the record at fault, may pass.
func Rejected(err error) bool {
	var e *StatusError
	if errors.As(err, &e) {
		return !e.Retryable() && (e.Code == codeParameter || e.Legacy == commonpb.ErrorCode_IllegalArgument || e.Legacy == commonpb.ErrorCode_IllegalRowRecord ||
			e.Code == 0 && e.Legacy == commonpb.ErrorCode_UnexpectedError || e.Code == unexpected)
	}
	return status.Code(unwrapped(err)) == codes.InvalidArgument
}

// unexpected is the code of an error that the server has no other for.
const unexpected = 65535

// maxReason bounds what is kept of a server's words, in bytes.
const maxReason = 300

// answer is any answer of the server.
type answer interface{ GetStatus() *commonpb.Status }

// Check turns a failed call, or an answer that says that it failed, into an
// error of the right kind.
func Check(op string, res answer, err error) error {
	if err == nil {
		err = statusOf(res.GetStatus())
	}
	return Classify(op, err)
}

func statusOf(s *commonpb.Status) error {
	if s.GetCode() == 0 && s.GetErrorCode() == commonpb.ErrorCode_Success { //nolint:staticcheck // older servers fill in no other
		return nil
	}
	reason := s.GetReason()
	if len(reason) > maxReason { // it may repeat the whole request
		reason = strings.ToValidUTF8(reason[:maxReason], "") + "…"
	}
	return &StatusError{Code: s.GetCode(), Legacy: s.GetErrorCode(), Reason: reason, retry: s.GetRetriable()} //nolint:staticcheck // as above
}

// Classify gives an error of a call the kind that the engine acts on; nil stays
// nil.
func Classify(op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", op, err)
	}
	var e *StatusError
	if errors.As(err, &e) {
		return ofStatus(op, e)
	}
	st, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("%s: %w", op, err)
	}
	switch st.Code() { //nolint:exhaustive // the others are for good
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted, codes.DeadlineExceeded, codes.Canceled:
		return pipeline.Transient(pipeline.Environment(op, err, connectHint))
	case codes.Unauthenticated, codes.PermissionDenied:
		return pipeline.Environment(op, err, "check MILVUS_TOKEN, and what that user may do")
	case codes.Unimplemented:
		return pipeline.Environment(op, err, "check MILVUS_URI: what answers there is no Milvus that Open WebUI can use")
	}
	return &pipeline.Error{Op: op, Err: err, Hint: serverHint}
}

func ofStatus(op string, e *StatusError) error {
	switch {
	case e.Retryable():
		return pipeline.Environment(op, e, "wait until the server is ready, then run the same command")
	case e.Code == codeMemoryLimit || e.Code == codeDiskLimit || e.Code == codeForceDeny ||
		e.Legacy == commonpb.ErrorCode_DiskQuotaExhausted || e.Legacy == commonpb.ErrorCode_MemoryQuotaExhausted || e.Legacy == commonpb.ErrorCode_ForceDeny:
		return pipeline.Environment(op, e, "the server takes no more data: free memory or disk space there, or raise its quota")
	case e.Code >= codeUnauthorized && e.Code < codeUnauthorized+100 || e.Code == codeNeedAuth || e.Legacy == commonpb.ErrorCode_PermissionDenied:
		return pipeline.Environment(op, e, "check MILVUS_TOKEN, and what that user may do")
	case e.noIndex():
		return pipeline.Environment(op, e, "it has no index, as when whoever made it was stopped before the end, and can be read by nobody: run outgrow migrate (again) if it is the target's; else give it its index, or drop it if it is not needed")
	case e.Code == codeNoDatabase:
		return pipeline.Environment(op, e, "check MILVUS_DB")
	}
	return &pipeline.Error{Op: op, Err: e, Hint: serverHint}
}

func unwrapped(err error) error {
	for err != nil {
		if _, ok := status.FromError(err); ok {
			return err
		}
		err = errors.Unwrap(err)
	}
	return nil
}
