package qdrant

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"time"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// MaxRequest is the size of a request, in bytes, that a server takes unless it
// was set up otherwise (service.max_request_size_mb).
const MaxRequest = 32 << 20

// leastTimeout is the shortest time that a call is given: QDRANT_TIMEOUT is
// made for single questions, its default is 5 s.
const leastTimeout = 60 * time.Second

// Conn is a connection to a Qdrant server. It is safe for concurrent use.
type Conn struct {
	Points      pb.PointsClient
	Collections pb.CollectionsClient

	conn    *grpc.ClientConn
	version string
}

// Dial connects and asks for the server's version. It changes nothing.
func Dial(ctx context.Context, cfg env.QdrantConfig) (*Conn, error) {
	creds := insecure.NewCredentials()
	if cfg.TLS {
		creds = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	timeout := max(leastTimeout, time.Duration(cfg.Timeout)*time.Second)
	address := net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.GRPCPort))
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(creds),
		grpc.WithUnaryInterceptor(caller(cfg.APIKey, timeout)),
		grpc.WithUserAgent("outgrow"),
		// A server that is started again is found soon.
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 10 * time.Second,
			Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second}}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
		// What is asked for bounds an answer; texts have no limit of their own.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)))
	if err != nil {
		return nil, pipeline.Usage("connecting to Qdrant", err, "check QDRANT_URI and QDRANT_GRPC_PORT")
	}
	c := &Conn{Points: pb.NewPointsClient(conn), Collections: pb.NewCollectionsClient(conn), conn: conn}
	hello, cancel := context.WithTimeout(ctx, time.Duration(max(cfg.Timeout, 5))*time.Second)
	defer cancel()
	reply, err := pb.NewQdrantClient(conn).HealthCheck(hello, &pb.HealthCheckRequest{})
	if err == nil {
		// Open to everybody: only this one shows whether the key is right.
		_, err = c.Collections.List(hello, &pb.ListCollectionsRequest{})
	}
	if err != nil {
		_ = conn.Close()
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			err = status.Error(codes.Unavailable, "no answer within QDRANT_TIMEOUT")
		}
		return nil, Classify(fmt.Sprintf("connecting to Qdrant at %s (QDRANT_URI, QDRANT_GRPC_PORT)", address), err)
	}
	c.version = reply.GetVersion()
	return c, nil
}

// Version is what the server says of itself.
func (c *Conn) Version() string { return c.version }

// Close ends the connection. A second call is harmless.
func (c *Conn) Close() error {
	if err := c.conn.Close(); err != nil && status.Code(err) != codes.Canceled {
		return err
	}
	return nil
}

// caller sends the key, bounds the time of a call, and keeps what the server
// says of when to come again.
func caller(key env.Secret, timeout time.Duration) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		call, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		if key != "" {
			call = metadata.AppendToOutgoingContext(call, "api-key", key.Reveal())
		}
		var header, trailer metadata.MD
		err := invoke(call, method, req, reply, cc, append(opts, grpc.Header(&header), grpc.Trailer(&trailer))...)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for _, values := range [][]string{trailer.Get("retry-after"), header.Get("retry-after")} {
			if len(values) == 0 {
				continue
			}
			if n, perr := strconv.Atoi(values[0]); perr == nil && n >= 0 {
				return &later{err, time.Duration(n) * time.Second}
			}
		}
		return err
	}
}

// later is an error whose cause is over after some time.
type later struct {
	err   error
	after time.Duration
}

var _ pipeline.Delayed = (*later)(nil)

func (l *later) Error() string             { return l.err.Error() }
func (l *later) Unwrap() error             { return l.err }
func (l *later) RetryAfter() time.Duration { return l.after }

// Code is the gRPC status code of an error, OK for nil.
func Code(err error) codes.Code {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return s.GRPCStatus().Code()
	}
	return status.Code(err)
}

// Classify says by its status code what an error is: worth a retry, the
// environment's, or neither. A cancelled context's error stays as it is.
func Classify(op string, err error) error {
	switch code := Code(err); {
	case err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case code == codes.Unavailable || code == codes.DeadlineExceeded || code == codes.Aborted || code == codes.Canceled:
		return pipeline.Environment(op, pipeline.Transient(err), "start Qdrant, or check the network to it, then run the same command")
	case code == codes.ResourceExhausted:
		return pipeline.Environment(op, pipeline.Transient(err), "Qdrant limits the rate: pass --rate or fewer --writers, then run the same command")
	case code == codes.Internal || code == codes.Unknown || code == codes.DataLoss:
		return pipeline.Environment(op, pipeline.Transient(err), "look at Qdrant's log: is its disk full?")
	case code == codes.Unauthenticated || code == codes.PermissionDenied:
		return pipeline.Environment(op, err, "check QDRANT_API_KEY, and the strict mode of the collection")
	case code == codes.Unimplemented:
		return pipeline.Environment(op, err, "check QDRANT_GRPC_PORT, and update Qdrant to 1.12 or later")
	}
	return &pipeline.Error{Op: op, Err: err}
}
