// Package env reads a deployment from Open WebUI's own environment variables,
// with Open WebUI's defaults. Source of names and defaults: Open WebUI 0.12.4,
// env.py and config.py.
package env

// Deployment is one side of a migration.
type Deployment struct {
	// Side is "from" or "to".
	Side string
	// Origin is what the operator gave: a DATA_DIR or an env file.
	Origin string
	// IsFolder is true when Origin is a DATA_DIR.
	IsFolder bool
	// DataDir is DATA_DIR as the application sees it; file.path is made of it.
	DataDir string
	// Mount is where DataDir can be reached from here.
	Mount string
	// MountGiven is false when nobody said where DataDir is reached from here
	// and it is taken to be at its own path. See [Deployment.CheckMount].
	MountGiven bool
	Database   Database
	Vector     Vector
	Files      Files
	// SecretKey is the one that a variable names, else that of a key file as the
	// container's start script reads it. Package secrets knows the other readings.
	SecretKey Secret
	// Warnings are what works, or Open WebUI ignores, but is worth knowing.
	Warnings []ConfigError
	// Vars are all variables given for this side, overrides applied.
	Vars map[string]Secret
}

// Kinds of database.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
)

// Database says where the relational data are.
type Database struct {
	Kind string
	// Path is the SQLite file as reached from here.
	Path string
	// URL is postgresql://… as pgx takes it, password included.
	URL Secret
	// Schema is DATABASE_SCHEMA, "" for the role's search path.
	Schema string
}

// Kinds of vector store, as VECTOR_DB spells them.
const (
	Chroma   = "chroma"
	PGVector = "pgvector"
	Qdrant   = "qdrant"
	Milvus   = "milvus"
	Pinecone = "pinecone"
)

// Vector says where the vectors are.
type Vector struct {
	Kind string
	// Path is where an embedded Chroma store (vector_db) is, as reached from here.
	Path     string
	Chroma   ChromaConfig
	PG       PGVectorConfig
	Qdrant   QdrantConfig
	Milvus   MilvusConfig
	Pinecone PineconeConfig
}

// Embedded reports whether the vectors are in a folder of the deployment: Chroma
// without a server of its own.
func (v Vector) Embedded() bool { return v.Kind == Chroma && v.Chroma.Host == "" }

// PGVectorConfig is what the PGVECTOR_* variables say.
type PGVectorConfig struct {
	URL             Secret // PGVECTOR_DB_URL, else that of the database
	OwnURL          bool   // PGVECTOR_DB_URL was given
	MaxLength       int    // PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH
	HalfVec         bool   // PGVECTOR_USE_HALFVEC
	IndexMethod     string // PGVECTOR_INDEX_METHOD: "", "ivfflat" or "hnsw"
	HNSWM           int    // PGVECTOR_HNSW_M
	HNSWEf          int    // PGVECTOR_HNSW_EF_CONSTRUCTION
	IVFFlatLists    int    // PGVECTOR_IVFFLAT_LISTS
	IterativeScan   string // PGVECTOR_ITERATIVE_SCAN: "off", "relaxed_order" or "strict_order"
	CreateExtension bool   // PGVECTOR_CREATE_EXTENSION
	PGCrypto        bool   // PGVECTOR_PGCRYPTO
	PGCryptoKey     Secret // PGVECTOR_PGCRYPTO_KEY
}

// Kinds of file store, as STORAGE_PROVIDER spells them.
const (
	Local = "local"
	S3    = "s3"
	GCS   = "gcs"
	Azure = "azure"
)

// Files says where uploads are.
type Files struct {
	Provider string
	S3       S3Config
	GCS      GCSConfig
	Azure    AzureConfig
}
