package pinecone

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	sdk "github.com/pinecone-io/go-pinecone/v5/pinecone"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// controller is Pinecone's control plane. It is always named to the SDK, which
// would else look for PINECONE_CONTROLLER_HOST in this process's environment.
const controller = "https://api.pinecone.io"

// maxMessage bounds an answer: a hundred records of 20,000 dimensions with all
// their metadata have 12 MB.
const maxMessage = 64 << 20

// Client speaks to the control plane of one project.
type Client struct {
	cfg env.PineconeConfig
	api *sdk.Client
}

// Index is what the control plane tells of an index.
type Index struct {
	Dimension int
	Metric    string
	Ready     bool
	State     string // "Ready", "Initializing", …
	// Listable: the index is serverless. The ids of a pod's cannot be listed.
	Listable bool
	// Dense: it holds dense vectors.
	Dense bool
	host  string
}

// Dial makes a client; it sends nothing yet.
func Dial(cfg env.PineconeConfig) (*Client, error) {
	if cfg.APIKey == "" || cfg.Index == "" {
		return nil, pipeline.Usage("opening Pinecone", errors.New("no API key or no index name"), "set PINECONE_API_KEY and PINECONE_INDEX_NAME")
	}
	host := cfg.Controller
	if host == "" {
		host = controller
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:errorlint // no error
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	api, err := sdk.NewClient(sdk.NewClientParams{ApiKey: cfg.APIKey.Reveal(), Host: host,
		RestClient: &http.Client{Timeout: callTimeout, Transport: &throttled{transport}}})
	if err != nil {
		return nil, pipeline.Usage("opening Pinecone", err, "check PINECONE_API_KEY and PINECONE_CONTROLLER_HOST")
	}
	return &Client{cfg, api}, nil
}

// Find describes the index of PINECONE_INDEX_NAME, nil when there is none.
func (c *Client) Find(ctx context.Context) (*Index, error) {
	const op = "looking for the Pinecone index"
	in, err := c.api.DescribeIndex(ctx, c.cfg.Index)
	if e := (*sdk.PineconeError)(nil); errors.As(err, &e) && e.Code == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, Classify(ctx, op, err)
	}
	ix := &Index{Metric: string(in.Metric), Dense: in.VectorType != "sparse", host: in.Host}
	if in.Dimension != nil {
		ix.Dimension = int(*in.Dimension)
	}
	if in.Status != nil {
		ix.Ready, ix.State = in.Status.Ready, string(in.Status.State)
	}
	ix.Listable = in.Spec == nil || in.Spec.Pod == nil
	return ix, nil
}

// Create makes the index as Open WebUI would, and waits until it is ready. One
// that is there already is left as it is.
func (c *Client) Create(ctx context.Context) (*Index, error) {
	const op = "making the Pinecone index"
	dim, metric := int32(c.cfg.Dimension), sdk.IndexMetric(c.cfg.Metric)
	_, err := c.api.CreateServerlessIndex(ctx, &sdk.CreateServerlessIndexRequest{Name: c.cfg.Index, Cloud: sdk.Cloud(c.cfg.Cloud),
		Region: c.cfg.Environment, Metric: &metric, Dimension: &dim})
	if e := (*sdk.PineconeError)(nil); err != nil && (!errors.As(err, &e) || e.Code != http.StatusConflict) {
		return nil, Classify(ctx, op, err)
	}
	for end := time.Now().Add(readyWait); ; {
		ix, err := c.Find(ctx)
		switch {
		case err != nil:
			return nil, err
		case ix != nil && ix.Ready:
			return ix, nil
		case time.Now().After(end):
			return nil, pipeline.Environment(op, fmt.Errorf("it is not ready after %v", readyWait), "look at the index in Pinecone's console, then run the same command")
		}
		if err := pipeline.Sleep(ctx, time.Second); err != nil {
			return nil, err
		}
	}
}

// Connect gives the index's data plane, in the namespace that Open WebUI uses.
// It connects at the first request. Close it.
func (c *Client) Connect(ix *Index) (*sdk.IndexConnection, error) {
	const op = "connecting to the Pinecone index"
	options := []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(intercept),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		// A server that comes back is to be found soon.
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 10 * time.Second,
			Backoff: backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second}}),
	}
	// The SDK ends the process when gRPC does not take the address.
	probe, err := grpc.NewClient(ix.host, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err == nil {
		err = probe.Close()
	}
	if err != nil {
		return nil, pipeline.Environment(op, err, "check PINECONE_CONTROLLER_HOST")
	}
	conn, err := c.api.Index(sdk.NewIndexConnParams{Host: ix.host, Namespace: NamespaceNew}, options...)
	if err != nil {
		return nil, pipeline.Environment(op, err, "check PINECONE_CONTROLLER_HOST")
	}
	return conn.WithNamespace(Namespace), nil
}

// Count gives the number of records in the default namespace and in all others.
// It is behind the truth for some seconds after a write.
func Count(ctx context.Context, conn *sdk.IndexConnection) (records, elsewhere int64, err error) {
	stats, err := conn.DescribeIndexStats(ctx)
	if err != nil {
		return 0, 0, Classify(ctx, "counting the index's records", err)
	}
	for name, ns := range stats.Namespaces {
		if name == Namespace || name == NamespaceNew {
			records += int64(ns.VectorCount)
		} else {
			elsewhere += int64(ns.VectorCount)
		}
	}
	return records, elsewhere, nil
}
