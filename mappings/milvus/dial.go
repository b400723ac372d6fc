package milvus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	retry "github.com/grpc-ecosystem/go-grpc-middleware/retry"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	sdk "github.com/milvus-io/milvus-sdk-go/v2/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

const (
	dialTimeout = 15 * time.Second
	callTimeout = 120 * time.Second // of one request
)

// Layout says how Open WebUI lays a server's collections out. The zero value
// is that of a server before 2.5.
type Layout struct {
	// BM25: the server is 2.5 or later, so the text stands in a field of its
	// own with a BM25 function behind it. Before, it is JSON in the field data,
	// except with multitenancy.
	BM25 bool
	// Lite: Milvus Lite, which has no limit of a JSON field's length.
	Lite bool
}

// LayoutOf is the layout for a server's version, as Open WebUI reads it: the
// first two numbers in it, wherever they stand.
func LayoutOf(version string) Layout {
	l := Layout{Lite: strings.Contains(version, "milvus_lite")}
	n := versionNumber.FindAllString(version, 2)
	if len(n) == 2 {
		major, err1 := strconv.Atoi(n[0])
		minor, err2 := strconv.Atoi(n[1])
		l.BM25 = err1 == nil && err2 == nil && (major > 2 || major == 2 && minor >= 5)
	}
	return l
}

var versionNumber = regexp.MustCompile(`\d+`)

// Store is a connection to a server. It is safe for concurrent use.
type Store struct {
	Cfg     env.MilvusConfig
	Version string
	Layout  Layout
	// Service is the server's own interface. Its calls are not repeated by the
	// SDK: the engine does that, and knows the codes.
	Service milvuspb.MilvusServiceClient

	client *sdk.GrpcClient
}

// Dial connects and asks for the version.
func Dial(ctx context.Context, cfg env.MilvusConfig) (*Store, error) {
	const op = "connecting to Milvus"
	options := []grpc.DialOption{
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 5 * time.Second,
			Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second}}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), retry.Disable()),
		grpc.WithChainUnaryInterceptor(bounded),
	}
	if cfg.TLS {
		c := &tls.Config{MinVersion: tls.VersionTLS12}
		if cfg.ServerPEM != "" {
			pem, err := os.ReadFile(cfg.ServerPEM)
			if err != nil {
				return nil, pipeline.Usage(op, err, "check MILVUS_SERVER_PEM_PATH")
			}
			c.RootCAs = x509.NewCertPool()
			if !c.RootCAs.AppendCertsFromPEM(pem) {
				return nil, pipeline.Usage(op, errors.New("the file of MILVUS_SERVER_PEM_PATH holds no certificate"), "give the certificate of the server or of its authority, in PEM")
			}
		}
		options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(c)))
	}
	dial, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	s := &Store{Cfg: cfg}
	// DisableConn: the SDK's own greeting keeps no code of what went wrong.
	c, err := sdk.NewClient(dial, sdk.Config{Address: cfg.Address, DBName: cfg.Database, APIKey: cfg.Token.Reveal(), DialOptions: options,
		DisableConn: true, RetryRateLimit: &sdk.RetryRateLimitOption{}})
	if err != nil {
		return nil, pipeline.Environment(op, err, connectHint)
	}
	client, ok := c.(*sdk.GrpcClient)
	if !ok {
		return nil, fmt.Errorf("%s: the SDK's client is a %T", op, c)
	}
	s.client, s.Service = client, client.Service
	res, err := s.Service.GetVersion(dial, &milvuspb.GetVersionRequest{})
	if err = Check(op, res, err); err == nil {
		s.Version, s.Layout = res.GetVersion(), LayoutOf(res.GetVersion())
		// Names the database: one that is not there is told apart from an empty one.
		dbs, derr := s.Service.ListDatabases(dial, &milvuspb.ListDatabasesRequest{})
		err = s.database(op, dbs, derr)
	}
	if err != nil {
		if ctx.Err() == nil && dial.Err() != nil {
			err = pipeline.Environment(op, fmt.Errorf("no answer within %v: %w", dialTimeout, err), connectHint)
		}
		return nil, errors.Join(err, client.Close())
	}
	return s, nil
}

func (s *Store) database(op string, res *milvuspb.ListDatabasesResponse, err error) error {
	if err := Check(op, res, err); err != nil {
		return err
	}
	if s.Cfg.Database == "" || s.Cfg.Database == "default" {
		return nil
	}
	for _, n := range res.GetDbNames() {
		if n == s.Cfg.Database {
			return nil
		}
	}
	return pipeline.Environment(op, fmt.Errorf("the server has no database %q", s.Cfg.Database), "create it, or correct MILVUS_DB")
}

// Made is when the database was made, by the server's clock; 0 where the server
// does not tell. No two databases have the same.
func (s *Store) Made(ctx context.Context) (uint64, error) {
	res, err := s.Service.ListDatabases(ctx, &milvuspb.ListDatabasesRequest{})
	if err := Check("looking at the database", res, err); err != nil {
		return 0, err
	}
	name := s.Cfg.Database
	if name == "" {
		name = "default"
	}
	if i := slices.Index(res.GetDbNames(), name); i >= 0 && i < len(res.GetCreatedTimestamp()) {
		return res.GetCreatedTimestamp()[i], nil
	}
	return 0, nil
}

// Place names database, layout and prefix, without host.
func Place(cfg env.MilvusConfig) string {
	name, kind := cfg.Database, "plain"
	if name == "" {
		name = "default"
	}
	if cfg.Multitenancy {
		kind = "shared:" + cfg.Prefix
	}
	return name + "/" + kind
}

// Close ends the connection. A second call is harmless.
func (s *Store) Close() error { return s.client.Close() }

// Describe says in a few words what the store is, without host or secret.
func Describe(cfg env.MilvusConfig) string {
	s := "milvus"
	if cfg.Multitenancy {
		s += " multitenancy"
	}
	if cfg.Database != "" && cfg.Database != "default" {
		s += ", database " + cfg.Database
	}
	return s
}
