package env

import "encoding/base64"

// ChromaConfig is what the CHROMA_* variables say. Host "" means the embedded
// store.
type ChromaConfig struct {
	Host            string            // CHROMA_HTTP_HOST
	Port            int               // CHROMA_HTTP_PORT
	SSL             bool              // CHROMA_HTTP_SSL
	Headers         map[string]Secret // CHROMA_HTTP_HEADERS, "a=b,c=d"
	AuthProvider    string            // CHROMA_CLIENT_AUTH_PROVIDER
	AuthCredentials Secret            // CHROMA_CLIENT_AUTH_CREDENTIALS
	TokenHeader     string            // CHROMA_AUTH_TOKEN_TRANSPORT_HEADER: what a token travels in
	CAFile          string            // CHROMA_SERVER_SSL_VERIFY: a file with certificates, "" for the system's
	Tenant          string            // CHROMA_TENANT
	Database        string            // CHROMA_DATABASE
}

// BasicAuth is the credentials as basic auth sends them.
func (c ChromaConfig) BasicAuth() string {
	return base64.StdEncoding.EncodeToString([]byte(c.AuthCredentials.Reveal()))
}

// QdrantConfig is what the QDRANT_* variables say.
type QdrantConfig struct {
	URI          string // QDRANT_URI, without a user
	Host         string // of the URI
	TLS          bool   // whether Open WebUI's client encrypts
	APIKey       Secret // QDRANT_API_KEY
	PreferGRPC   bool   // QDRANT_PREFER_GRPC; outgrow itself always speaks gRPC
	GRPCPort     int    // QDRANT_GRPC_PORT
	Timeout      int    // QDRANT_TIMEOUT, seconds
	OnDisk       bool   // QDRANT_ON_DISK
	HNSWM        int    // QDRANT_HNSW_M
	Prefix       string // QDRANT_COLLECTION_PREFIX
	Multitenancy bool   // ENABLE_QDRANT_MULTITENANCY_MODE
}

// MilvusConfig is what the MILVUS_* variables say.
type MilvusConfig struct {
	URI           string // MILVUS_URI, without user and password
	Address       string // host:port of it
	TLS           bool   // it begins with https
	Database      string // MILVUS_DB
	Token         Secret // MILVUS_TOKEN, else USER:PASSWORD of the URI
	ServerPEM     string // MILVUS_SERVER_PEM_PATH
	IndexType     string // MILVUS_INDEX_TYPE, upper case
	MetricType    string // MILVUS_METRIC_TYPE, upper case
	HNSWM         int    // MILVUS_HNSW_M
	HNSWEf        int    // MILVUS_HNSW_EFCONSTRUCTION
	IVFFlatNlist  int    // MILVUS_IVF_FLAT_NLIST
	DiskANNDegree int    // MILVUS_DISKANN_MAX_DEGREE
	DiskANNSearch int    // MILVUS_DISKANN_SEARCH_LIST_SIZE
	Prefix        string // MILVUS_COLLECTION_PREFIX with _ for -, of multitenancy only
	Multitenancy  bool   // ENABLE_MILVUS_MULTITENANCY_MODE
	Migrations    bool   // ENABLE_DB_MIGRATIONS: Open WebUI rewrites old collections at its start
}

// PineconeConfig is what the PINECONE_* variables say.
type PineconeConfig struct {
	APIKey      Secret // PINECONE_API_KEY
	Environment string // PINECONE_ENVIRONMENT, the region
	Index       string // PINECONE_INDEX_NAME
	Dimension   int    // PINECONE_DIMENSION
	Metric      string // PINECONE_METRIC
	Cloud       string // PINECONE_CLOUD
	Controller  string // PINECONE_CONTROLLER_HOST, the SDK's own variable; "" for Pinecone's
}
