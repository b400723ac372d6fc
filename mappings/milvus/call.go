package milvus

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"outgrow/pipeline"
)

// delayed is an error of a server, or of what stands before it, that said when
// to come back.
type delayed struct {
	error
	after time.Duration
}

func (d *delayed) Unwrap() error              { return d.error }
func (d *delayed) GRPCStatus() *status.Status { return status.Convert(d.error) }
func (d *delayed) RetryAfter() time.Duration  { return d.after }

// bounded gives every request a time limit, and keeps what a refusal says of
// when to come back: retry-after, or gRPC's own grpc-retry-pushback-ms.
func bounded(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
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
	for _, md := range []metadata.MD{tail, head} {
		if d := number(md, "retry-after") * time.Second; d > 0 {
			return &delayed{err, min(d, pipeline.MaxRetryAfter)}
		}
		if d := number(md, "grpc-retry-pushback-ms") * time.Millisecond; d > 0 {
			return &delayed{err, min(d, pipeline.MaxRetryAfter)}
		}
	}
	return err
}

func number(md metadata.MD, name string) time.Duration {
	for _, s := range md.Get(name) {
		if n, err := strconv.Atoi(s); err == nil && n > 0 && n < 1<<20 {
			return time.Duration(n)
		}
	}
	return 0
}
