package doctor

import (
	"encoding/json"
	"time"
)

// Answers are what the servers said. The zero value is that of nobody asked; a
// nil part is one that the deployment does not have.
type Answers struct {
	Asked bool
	// Database is the server of DATABASE_URL. Vectors is that of
	// PGVECTOR_DB_URL, the same pointer where it is the same database.
	Database, Vectors *Postgres
	Rows              *Rows
	Redis             []*Redis
	Store             *Store
	Objects           *Objects
	Folder            *Folder
	Telemetry         []*Endpoint
}

// Server is what all answers have in common.
type Server struct {
	Name string // the variable that names it
	Kind string // what it is, with its version: "PostgreSQL 16.14"
	// Down says why it could not be reached, or refused to talk; "" when it
	// answered. It holds no secret.
	Down string
}

// Value is something that a server may refuse to tell.
type Value[T any] struct {
	V   T
	Why string // why it is not known, "" when it is
}

// Told is a value that is known.
func Told[T any](v T) Value[T] { return Value[T]{V: v} }

// Untold is a value that is not known.
func Untold[T any](why string) Value[T] { return Value[T]{Why: why} }

// Postgres is a PostgreSQL server, as the deployment's role sees it.
type Postgres struct {
	Server
	Version int // server_version_num
	// Identity tells databases apart, as far as the role may see; Address is
	// host:port.
	Identity, Address string
	Pooled            bool // a transaction pooler stands between
	ReadOnly          bool // a replica, or default_transaction_read_only
	// MaxConnections, those kept for superusers and others (Reserved), those in
	// use by others than this role on this database, and what role and database
	// are limited to, -1 for no limit.
	MaxConnections, Reserved, InUse, RoleLimit, DatabaseLimit int
	// Trip is the median time of a round trip, from where outgrow runs.
	Trip time.Duration
	// Schema is where tables go, "" when the one that is named is not there.
	Schema                   string
	Usage, Create, CreateExt bool // in the schema; extensions in the database
	Superuser                bool
	// Tables says whether Open WebUI's are in Schema; Elsewhere names another
	// schema that has them.
	Tables    bool
	Elsewhere string
	// Denied are tables of Open WebUI that the role may not read and write.
	Denied     []string
	Extensions map[string]Extension // by name, those that the server has
	Chunks     *Chunks              // nil when there is no document_chunk
}

// Extension is one that a PostgreSQL server has.
type Extension struct {
	Installed string // its version in this database, "" when it is not
	Available string // the version that CREATE EXTENSION would give
	Trusted   bool   // a role that may CREATE in the database may install it
}

// Chunks is pgvector's table.
type Chunks struct {
	Type    string // of the column vector, as format_type prints it
	Rows    int64  // an estimate
	Method  string // of the vector index, "" when there is none
	Invalid bool   // the index is there, and not usable
}

// Rows are what the database's rows say.
type Rows struct {
	Server
	Heads []string // of alembic_version; nil when there is no such table
	// Config are the config rows by key. They may hold secrets.
	Config Value[map[string]json.RawMessage]
	// Files counts rows of file with a path, Wrong those whose path does not lead
	// to the deployment's provider, Folders those whose name the provider would
	// not read back. Looked is how many of the others were looked for in the
	// provider, and Gone how many of these were not there.
	Files, Wrong, Folders int64
	Looked                Value[int]
	Gone                  int
	// Tokens is how many stored secrets were tried with the deployment's key,
	// and Opens how many it opened.
	Tokens, Opens int
}

// Kinds of Redis as the variables ask for it.
const (
	Single   = "single"
	Sentinel = "Sentinel"
	Cluster  = "Cluster"
)

// Redis is what one Redis address leads to.
type Redis struct {
	Server
	Mode  string // Single, Sentinel or Cluster: what the variables ask for
	Wrong string // what is wrong with how it is addressed, "" when nothing is
	Fix   string // the line for it
	Nodes []RedisNode
	// Quorum says what is wrong with the sentinels, "" when nothing is.
	Quorum string
	// Left are keys of Open WebUI that are there already and win over the
	// database.
	Left Value[[]string]
}

// RedisNode is a server of Redis that takes writes.
type RedisNode struct {
	Timeout, MaxClients   Value[int]
	Policy, Append, Fsync Value[string]
	PubSub                Value[[3]int64] // hard and soft limit in bytes, seconds; 0 is no limit
	Disconnections        Value[int]      // of clients that did not read fast enough
}

// Store is a vector store with a server of its own that is not PostgreSQL.
type Store struct {
	Server
	Own   int      // collections of the configured layout and prefix
	Other int      // collections of the other layout under the prefix
	Alien []string // prefixes under which there are shared collections
	// Strict says that strict mode is on, Bare names collections that lack a
	// payload index.
	Strict bool
	Bare   []string
	// Of a Pinecone index: whether it is there, and what it is.
	Missing bool
	Dim     int
	Metric  string
}

// Objects is the object store.
type Objects struct {
	Server
	// Write, Read and Delete say what went wrong with the probe object, "" when
	// nothing did.
	Write, Read, Delete string
}

// Folder is DATA_DIR as it is reached from here.
type Folder struct {
	Server
	Path     string
	Type     string // of its file system
	Network  bool   // other machines may have it mounted, too
	Volatile bool   // it is in memory
	Write    string // what went wrong with the probe file, "" when nothing did
	// Fsync is the median time of a write that is flushed to the disk.
	Fsync time.Duration
	// Database is the type of file system that webui.db lies on, Shared whether
	// other machines may have it; "" where the database is not SQLite.
	Database       string
	DatabaseShared bool
	// Stray is a -wal that lies there without its webui.db.
	Stray bool
}

// Endpoint is where one kind of telemetry goes.
type Endpoint struct {
	Server
	Protocol string // grpc or http
	// Problem is what became of an empty export, "" when it was taken.
	Problem string
}

// servers lists all that were asked.
func (a Answers) servers() []Server {
	var out []Server
	if a.Database != nil {
		out = append(out, a.Database.Server)
	}
	if a.Vectors != nil && a.Vectors != a.Database {
		out = append(out, a.Vectors.Server)
	}
	for _, r := range a.Redis {
		out = append(out, r.Server)
	}
	if a.Store != nil {
		out = append(out, a.Store.Server)
	}
	if a.Objects != nil {
		out = append(out, a.Objects.Server)
	}
	for _, e := range a.Telemetry {
		out = append(out, e.Server)
	}
	return out
}

// Reached lists what answered, by kind, each once.
func (a Answers) Reached() []string { return a.list(func(s Server) bool { return s.Down == "" }) }

// Unreachable lists the variables whose servers could not be reached.
func (a Answers) Unreachable() []string {
	var out []string
	for _, s := range a.servers() {
		if s.Down != "" {
			out = append(out, s.Name)
		}
	}
	return out
}

func (a Answers) list(want func(Server) bool) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range a.servers() {
		if want(s) && !seen[s.Kind] {
			seen[s.Kind] = true
			out = append(out, s.Kind)
		}
	}
	return out
}
