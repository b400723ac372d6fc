package doctor_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"outgrow/mappings/doctor"
	"outgrow/mappings/schema"
)

// well is what servers say of which no check has anything to say.
func well() doctor.Answers {
	heads := schema.Heads()
	pg := func(name string) *doctor.Postgres {
		return &doctor.Postgres{Server: doctor.Server{Name: name, Kind: "PostgreSQL 16.14"}, Version: 160014, Address: "pg.internal:5432", MaxConnections: 100, Reserved: 3, InUse: 3,
			RoleLimit: -1, DatabaseLimit: -1, Trip: time.Millisecond, Schema: "public", Usage: true, Create: true, Tables: true,
			Extensions: map[string]doctor.Extension{"vector": {Installed: "0.8.5", Available: "0.8.5"}},
			Chunks:     &doctor.Chunks{Type: "vector(1536)", Rows: 9000, Method: "ivfflat"}}
	}
	db := pg("DATABASE_URL")
	return doctor.Answers{Asked: true, Database: db, Vectors: db,
		Rows: &doctor.Rows{Heads: heads[len(heads)-1:], Config: doctor.Told(map[string]json.RawMessage{}), Files: 30, Looked: doctor.Told(25), Tokens: 2, Opens: 2},
		Redis: []*doctor.Redis{{Server: doctor.Server{Name: "REDIS_URL", Kind: "Redis 7.0.15"}, Mode: doctor.Single, Nodes: []doctor.RedisNode{{
			Timeout: doctor.Told(1800), MaxClients: doctor.Told(10_000), Policy: doctor.Told("noeviction"), Append: doctor.Told("yes"), Fsync: doctor.Told("everysec"),
			PubSub: doctor.Told([3]int64{1 << 30, 256 << 20, 180})}}}},
		Store:     &doctor.Store{Server: doctor.Server{Name: "QDRANT_URI", Kind: "Qdrant 1.18.3"}, Own: 5},
		Objects:   &doctor.Objects{Server: doctor.Server{Name: "STORAGE_PROVIDER", Kind: "s3://ours/ at AWS"}},
		Folder:    &doctor.Folder{Server: doctor.Server{Name: "DATA_DIR"}, Type: "NFS", Network: true, Fsync: time.Millisecond, Database: "ext4"},
		Telemetry: []*doctor.Endpoint{{Server: doctor.Server{Name: "OTEL_EXPORTER_OTLP_ENDPOINT", Kind: "collector"}, Protocol: "grpc"}}}
}

// answerCase is a fit deployment whose servers answer well but for one thing.
type answerCase struct {
	vars    map[string]string
	change  func(*doctor.Answers)
	want    string // the findings' ids
	unknown string // the unknown checks' ids, each once
}

func (c answerCase) facts(t *testing.T) doctor.Facts {
	t.Helper()
	vars := fit()
	maps.Copy(vars, c.vars)
	a := well()
	if c.change != nil {
		c.change(&a)
	}
	return doctor.Facts{Deployment: load(t, vars), Replicas: 2, Primary: true, Answers: a}
}

func answerCases() map[string]answerCase {
	type answers = *doctor.Answers
	return map[string]answerCase{
		"well":                 {},
		"well with shared key": {vars: map[string]string{"OAUTH_SESSION_TOKEN_ENCRYPTION_KEY": "x"}},
		"database down":        {change: func(a answers) { a.Database.Down = "refused" }, want: "D58", unknown: "D58 D50 D09 D06 D07 D25 D23 D24"},
		"old server":           {change: func(a answers) { a.Database.Version = 130009 }, want: "D58"},
		"read-only":            {change: func(a answers) { a.Database.ReadOnly = true }, want: "D58"},
		"no schema":            {change: func(a answers) { a.Database.Schema = "" }, want: "D58"},
		"no usage":             {change: func(a answers) { a.Database.Usage = false }, want: "D58"},
		"no create":            {change: func(a answers) { a.Database.Create = false }, want: "D58"},
		"denied":               {change: func(a answers) { a.Database.Denied = []string{"chat"} }, want: "D58"},
		"tables elsewhere":     {change: func(a answers) { a.Database.Tables, a.Database.Elsewhere = false, "owui" }, want: "D50"},
		"far away":             {change: func(a answers) { a.Database.Trip = 6 * time.Millisecond }, want: "D09"},
		// (15 + 0) x 3 processes = 45 for the rows, (5 + 10) x 3 = 45 for the vectors; 87 are left then.
		"vectors' pool": {vars: map[string]string{"DATABASE_POOL_SIZE": "15"}, want: "D07", change: func(a answers) { a.Database.InUse = 10 }},
		"rows' pool":    {vars: map[string]string{"DATABASE_POOL_MAX_OVERFLOW": "20"}, want: "D06"},
		"role's limit":  {change: func(a answers) { a.Database.RoleLimit = 44 }, want: "D06"},
		"database's limit": {change: func(a answers) {
			a.Database.DatabaseLimit = 44
		}, want: "D06"},
		"no pool":              {vars: map[string]string{"DATABASE_POOL_SIZE": "0"}, want: "D06"},
		"no pool of vectors":   {vars: map[string]string{"PGVECTOR_POOL_SIZE": "0"}, want: "D07"},
		"pooler":               {change: func(a answers) { a.Database.Pooled = true }, unknown: "D06 D07"},
		"no vector":            {change: func(a answers) { a.Database.Extensions = nil }, want: "D25"},
		"vector not installed": {change: func(a answers) { a.Database.Extensions["vector"] = doctor.Extension{Available: "0.8.5"} }, want: "D25"},
		"vector installable": {change: func(a answers) {
			a.Database.Extensions["vector"], a.Database.CreateExt = doctor.Extension{Available: "0.8.5", Trusted: true}, true
		}},
		"vector installable, forbidden": {vars: map[string]string{"PGVECTOR_CREATE_EXTENSION": "false"}, change: func(a answers) {
			a.Database.Extensions["vector"], a.Database.Superuser = doctor.Extension{Available: "0.8.5"}, true
		}, want: "D25"},
		"no pgcrypto": {vars: map[string]string{"PGVECTOR_PGCRYPTO": "true", "PGVECTOR_PGCRYPTO_KEY": "k3yk3y"}, want: "D25"},
		"old vector": {vars: map[string]string{"PGVECTOR_INDEX_METHOD": "hnsw"}, change: func(a answers) {
			a.Database.Extensions["vector"] = doctor.Extension{Installed: "0.4.4"}
			a.Database.Chunks.Method = "hnsw"
		}, want: "D25"},
		"dimension":       {change: func(a answers) { a.Database.Chunks.Type = "halfvec(3072)" }, want: "D23"},
		"no table":        {change: func(a answers) { a.Database.Chunks = nil }},
		"no index":        {change: func(a answers) { a.Database.Chunks.Method = "" }, want: "D24"},
		"few rows":        {change: func(a answers) { a.Database.Chunks.Method, a.Database.Chunks.Rows = "", 10 }},
		"another method":  {change: func(a answers) { a.Database.Chunks.Method = "hnsw" }, want: "D24"},
		"invalid":         {change: func(a answers) { a.Database.Chunks.Invalid = true }, want: "D24"},
		"two heads":       {change: func(a answers) { a.Rows.Heads = []string{"a", "b"} }, want: "D35"},
		"newer schema":    {change: func(a answers) { a.Rows.Heads = []string{"ffffffffffff"} }, unknown: "D35"},
		"empty database":  {change: func(a answers) { a.Rows.Heads = nil }},
		"another key":     {change: func(a answers) { a.Rows.Opens = 0 }, want: "D10"},
		"wrong paths":     {change: func(a answers) { a.Rows.Wrong = 3 }, want: "D32"},
		"files gone":      {change: func(a answers) { a.Rows.Gone = 1 }, want: "D32"},
		"files not seen":  {change: func(a answers) { a.Rows.Looked = doctor.Untold[int]("not reached") }, unknown: "D32"},
		"folders":         {change: func(a answers) { a.Rows.Folders = 1 }, want: "D52"},
		"rows not read":   {change: func(a answers) { a.Rows.Down = "denied" }, unknown: "D35 D10 D32 D52 D42 D44"},
		"embedding model": {vars: map[string]string{"RAG_EMBEDDING_MODEL": "a"}, change: rows("rag.embedding_model", `"b"`), want: "D42 D44"},
		"embedding same":  {vars: map[string]string{"RAG_EMBEDDING_MODEL": "a"}, change: rows("rag.embedding_model", `"a"`)},
		"row beats":       {vars: map[string]string{"ENABLE_OLLAMA_API": "true"}, change: rows("ollama.enable", `false`), want: "D44"},
		"row agrees":      {vars: map[string]string{"ENABLE_OLLAMA_API": "True"}, change: rows("ollama.enable", `true`)},
		"row is a number": {vars: map[string]string{"RAG_TOP_K": "5"}, change: rows("rag.top_k", `3`), want: "D44"},
		"rows do not win": {vars: map[string]string{"ENABLE_OLLAMA_API": "true", "ENABLE_PERSISTENT_CONFIG": "false"}, change: rows("ollama.enable", `false`)},
		"row decides":     {change: rows("rag.content_extraction_engine", `""`), want: "D41 D44"},
		"old config":      {change: func(a answers) { a.Rows.Config = doctor.Untold[map[string]json.RawMessage]("old") }, unknown: "D42 D44"},

		"redis down": {change: func(a answers) { a.Redis[0].Down = "refused" }, want: "D12", unknown: "D21 D15 D19 D16 D17 D18 D44"},
		"websocket down": {change: func(a answers) {
			a.Redis = append(a.Redis, &doctor.Redis{Server: doctor.Server{Name: "WEBSOCKET_REDIS_URL", Down: "refused"}})
		}, want: "D13", unknown: "D21 D15 D19 D16 D17 D18 D44"},
		"redis misplaced": {change: func(a answers) { a.Redis[0].Wrong, a.Redis[0].Fix = "a replica", "REDIS_URL=" }, want: "D21"},
		"no quorum":       {change: func(a answers) { a.Redis[0].Quorum = "2 of 3 answer" }, want: "D21"},
		"no timeout":      {change: node(func(n *doctor.RedisNode) { n.Timeout = doctor.Told(0) }), want: "D15"},
		"short timeout":   {change: node(func(n *doctor.RedisNode) { n.Timeout = doctor.Told(60) }), want: "D19"},
		"few clients":     {change: node(func(n *doctor.RedisNode) { n.MaxClients = doctor.Told(4064) }), want: "D15"},
		"evicts":          {change: node(func(n *doctor.RedisNode) { n.Policy = doctor.Told("allkeys-lru") }), want: "D16"},
		"evicts volatile": {change: node(func(n *doctor.RedisNode) { n.Policy = doctor.Told("volatile-lru") })},
		"no file":         {change: node(func(n *doctor.RedisNode) { n.Append = doctor.Told("no") }), want: "D17"},
		"no fsync":        {change: node(func(n *doctor.RedisNode) { n.Fsync = doctor.Told("no") }), want: "D17"},
		"small buffer":    {change: node(func(n *doctor.RedisNode) { n.PubSub = doctor.Told([3]int64{32 << 20, 8 << 20, 60}) }), want: "D18"},
		"no limit":        {change: node(func(n *doctor.RedisNode) { n.PubSub = doctor.Told([3]int64{}) })},
		"disconnected":    {change: node(func(n *doctor.RedisNode) { n.Disconnections = doctor.Told(1) }), want: "D18"},
		"config denied": {change: node(func(n *doctor.RedisNode) {
			n.Timeout, n.Policy, n.Append, n.Fsync = doctor.Untold[int]("denied"), doctor.Untold[string]("denied"), doctor.Untold[string]("denied"), doctor.Untold[string]("denied")
			n.PubSub, n.Disconnections = doctor.Untold[[3]int64]("denied"), doctor.Untold[int]("denied")
		}), unknown: "D15 D19 D16 D17 D18"},
		"second node": {change: func(a answers) {
			n := a.Redis[0].Nodes[0]
			n.Timeout = doctor.Told(0)
			a.Redis[0].Nodes = append(a.Redis[0].Nodes, n)
		}, want: "D15"},
		"keys left":      {change: func(a answers) { a.Redis[0].Left = doctor.Told([]string{"open-webui:models:base"}) }, want: "D44"},
		"keys not told":  {change: func(a answers) { a.Redis[0].Left = doctor.Untold[[]string]("denied") }, unknown: "D44"},
		"store down":     {change: func(a answers) { a.Store.Down = "refused" }, want: "D59", unknown: "D26 D27 D29 D30"},
		"other layout":   {vars: qdrant(), change: func(a answers) { a.Store.Own, a.Store.Other = 0, 12 }, want: "D26"},
		"other prefix":   {vars: qdrant(), change: func(a answers) { a.Store.Own, a.Store.Alien = 0, []string{"owui"} }, want: "D27"},
		"neighbour":      {vars: qdrant(), change: func(a answers) { a.Store.Alien = []string{"owui"} }},
		"bare":           {vars: qdrant(), change: func(a answers) { a.Store.Bare = []string{"open-webui_files"} }, want: "D30"},
		"bare, strict":   {vars: qdrant(), change: func(a answers) { a.Store.Bare, a.Store.Strict = []string{"open-webui_files"}, true }, want: "D30"},
		"index":          {vars: pinecone(), change: func(a answers) { a.Store.Dim, a.Store.Metric = 1536, "cosine" }},
		"no index yet":   {vars: pinecone(), change: func(a answers) { a.Store.Missing = true }},
		"index's length": {vars: pinecone(), change: func(a answers) { a.Store.Dim, a.Store.Metric = 768, "cosine" }, want: "D29"},
		"index's metric": {vars: pinecone(), change: func(a answers) { a.Store.Dim, a.Store.Metric = 1536, "euclidean" }, want: "D29"},

		"bucket down":                        {change: func(a answers) { a.Objects.Down = "refused" }, want: "D31"},
		"bucket read":                        {change: func(a answers) { a.Objects.Write = "denied" }, want: "D31"},
		"bucket keeps":                       {change: func(a answers) { a.Objects.Delete = "denied" }, want: "D31"},
		"no folder":                          {change: func(a answers) { a.Folder.Down = "not here" }, unknown: "D33 D02 D03 D48"},
		"folder read":                        {change: func(a answers) { a.Folder.Write = "denied" }, want: "D33"},
		"in memory":                          {change: func(a answers) { a.Folder.Volatile = true }, want: "D33"},
		"own disk":                           {change: func(a answers) { a.Folder.Network = false }, want: "D33"},
		"database shared":                    {change: func(a answers) { a.Folder.Database, a.Folder.DatabaseShared = "NFS", true }, want: "D02"},
		"slow disk":                          {change: func(a answers) { a.Folder.Fsync = 60 * time.Millisecond }, want: "D03"},
		"stray wal":                          {change: func(a answers) { a.Folder.Stray = true }, want: "D48"},
		"collector down":                     {change: func(a answers) { a.Telemetry[0].Down = "refused" }, want: "D57"},
		"collector's TLS":                    {change: func(a answers) { a.Telemetry[0].Problem = "no TLS" }, want: "D57"},
		"layout of another, before the move": {vars: qdrant(), change: func(a answers) { a.Store.Own, a.Store.Other, a.Rows.Heads = 0, 12, nil }},
		"prefix of another, before the move": {vars: qdrant(), change: func(a answers) { a.Store.Own, a.Store.Alien, a.Rows.Files = 0, []string{"owui"}, 0 }},
	}
}

// Each live check is silent where all is well, and fires at its one wrong
// answer. Where a value is unknown, or its server does not answer, the check is
// unknown and nothing else is said.
func TestEachAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range answerCases() {
		f := c.facts(t)
		if got := strings.Join(ids(told(t, f)), " "); got != c.want {
			t.Errorf("%s: told %q, want %q", name, got, c.want)
		}
		var open []string
		for _, u := range doctor.Run(f).Unknown {
			if u.Why == "" {
				t.Errorf("%s: %s does not say why it is unknown", name, u.ID)
			}
			if !slices.Contains(open, u.ID) {
				open = append(open, u.ID)
			}
		}
		if got := sorted(open); !slices.Equal(got, sorted(strings.Fields(c.unknown))) {
			t.Errorf("%s: unknown %q, want %q", name, got, c.unknown)
		}
	}
}

// The line to set names what may be at fault where the deployment has it.
func TestLinesNameTheVariables(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id, want string
		answerCase
	}{
		{"D59", "MILVUS_DB", answerCase{change: func(a *doctor.Answers) { a.Store.Name, a.Store.Down = "MILVUS_URI", "no database" }}},
		{"D59", "QDRANT_API_KEY", answerCase{change: func(a *doctor.Answers) { a.Store.Down = "denied" }}},
		{"D59", "PINECONE_INDEX_NAME", answerCase{change: func(a *doctor.Answers) { a.Store.Name, a.Store.Down = "PINECONE_INDEX_NAME", "gone" }}},
		{"D32", "DATA_DIR", answerCase{vars: map[string]string{"STORAGE_PROVIDER": "local"}, change: func(a *doctor.Answers) { a.Rows.Wrong = 3 }}},
		{"D32", "S3_KEY_PREFIX", answerCase{vars: map[string]string{"STORAGE_PROVIDER": "s3", "S3_BUCKET_NAME": "b"}, change: func(a *doctor.Answers) { a.Rows.Wrong = 3 }}},
	} {
		at := slices.IndexFunc(doctor.Run(c.facts(t)).Findings, func(f doctor.Finding) bool { return f.ID == c.id && strings.Contains(f.Line, c.want) })
		if at < 0 {
			t.Errorf("%s does not say %s: %+v", c.id, c.want, doctor.Run(c.facts(t)).Findings)
		}
	}
}

func sorted(s []string) []string { slices.Sort(s); return s }

// ids gives each id once.
func ids(told []string) []string {
	var out []string
	for _, s := range told {
		id, _, _ := strings.Cut(s, " ")
		out = append(out, id)
	}
	return slices.Compact(out)
}

func rows(key, value string) func(*doctor.Answers) {
	return func(a *doctor.Answers) { a.Rows.Config.V[key] = json.RawMessage(value) }
}

func node(change func(*doctor.RedisNode)) func(*doctor.Answers) {
	return func(a *doctor.Answers) { change(&a.Redis[0].Nodes[0]) }
}

func qdrant() map[string]string {
	return map[string]string{"VECTOR_DB": "qdrant", "QDRANT_URI": "http://qdrant.internal:6333"}
}

func pinecone() map[string]string {
	return map[string]string{"VECTOR_DB": "pinecone", "PINECONE_API_KEY": "pk", "PINECONE_ENVIRONMENT": "us-east-1"}
}

func TestReachable(t *testing.T) {
	t.Parallel()
	a := well()
	if got := a.Unreachable(); len(got) > 0 {
		t.Errorf("unreachable: %v", got)
	}
	a.Store.Down, a.Redis[0].Down = "refused", "refused"
	if got := a.Unreachable(); !slices.Equal(got, []string{"REDIS_URL", "QDRANT_URI"}) {
		t.Errorf("unreachable: %v", got)
	}
	if got := a.Reached(); !slices.Equal(got, []string{"PostgreSQL 16.14", "s3://ours/ at AWS", "collector"}) {
		t.Errorf("reached: %v", got)
	}
}
