// Package advise says what a deployment of a given size needs beside Open WebUI
// itself: the table "When Do I Need What" of Open WebUI's scaling guide (2026-08)
// as data. It looks at nothing but the size.
package advise

import (
	"fmt"
	"slices"
)

// Need says how much something is needed.
type Need int

// The needs, in order.
const (
	NotNeeded Need = iota
	Recommended
	Required
)

// String is the need in words.
func (n Need) String() string {
	return [...]string{"not needed", "recommended", "required"}[n]
}

// MarshalText is the need in words.
func (n Need) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// Size is how large the deployment is to be.
type Size struct {
	Users     int `json:"users"`     // who have an account
	Instances int `json:"instances"` // of Open WebUI, at least 1
	Workers   int `json:"workers"`   // processes of each instance, at least 1
}

// Processes is how many processes share everything.
func (s Size) Processes() int { return s.Instances * s.Workers }

// Part is one thing that a deployment may need.
type Part struct {
	Name string   `json:"name"`
	Need Need     `json:"need"`
	Why  []string `json:"why"`
	Set  []string `json:"set,omitempty"` // lines for the env file; empty where nothing is needed
	Note string   `json:"note,omitempty"`
}

// The parts, in the order of the guide's columns.
const (
	postgres = iota
	redis
	vectors
	storage
	parts
)

// scenario is a row of the guide's table.
type scenario struct {
	name  string
	holds func(Size) bool
	needs [parts]Need
}

// few and many are where the guide draws its lines between numbers of users.
const (
	few  = 50
	many = 1000
)

// scenarios is the guide's table. Its "optional (NFS or S3)" for several
// instances is a choice between two kinds of shared storage, not whether there is
// one: its footnote says that all of them need the same files.
func scenarios() []scenario {
	return []scenario{
		{"one person, or an evaluation", func(s Size) bool { return s.Users <= 1 && s.Processes() == 1 }, [parts]Need{}},
		{"a small team on one instance", func(s Size) bool { return s.Users > 1 && s.Users < few }, [parts]Need{postgres: Recommended}},
		{"a larger team on one instance", func(s Size) bool { return s.Users >= few }, [parts]Need{postgres: Recommended}},
		{"several workers", func(s Size) bool { return s.Workers > 1 }, [parts]Need{Required, Required, Required, NotNeeded}},
		{"several instances", func(s Size) bool { return s.Instances > 1 }, [parts]Need{Required, Required, Required, Required}},
		{"1,000 users or more", func(s Size) bool { return s.Users >= many }, [parts]Need{Required, Required, Required, Recommended}},
	}
}

// reason says why a part is needed, or what does without it.
type reason struct {
	name    string
	needed  string // why it is needed
	without string // why it may be left out
	set     []string
	note    string
}

func reasons() [parts]reason {
	return [parts]reason{
		{"PostgreSQL", "SQLite is one file that several processes lock against each other: \"database is locked\", and damage", "SQLite serves one process well",
			[]string{"DATABASE_URL=postgresql://USER:PASSWORD@HOST:5432/NAME", "DATABASE_POOL_SIZE=15", "DATABASE_POOL_MAX_OVERFLOW=20"}, ""},
		{"Redis", "sessions, settings and websockets are shared through it: without it users are signed out at random and chats hang", "one process has nothing to share",
			[]string{"REDIS_URL=redis://HOST:6379/0", "WEBSOCKET_MANAGER=redis", "ENABLE_WEBSOCKET_SUPPORT=true"}, "on the server: timeout 1800, maxclients 10000, maxmemory-policy noeviction"},
		{"external vector store", "embedded Chroma does not survive a second process: \"Child process died\" at an upload", "embedded Chroma serves one process",
			[]string{"VECTOR_DB=pgvector"}, "pgvector in the same PostgreSQL is the simplest; qdrant, milvus, pinecone and a Chroma server (CHROMA_HTTP_HOST) do as well"},
		{"shared storage", "every instance must see the same uploads: elsewhere a file is missing on all instances but one", "all processes see the same folder",
			nil, "a folder that all instances mount (NFS, CephFS, EFS, a ReadWriteMany volume) is enough; STORAGE_PROVIDER=s3, gcs or azure is the other way"},
	}
}

// For gives what a deployment of that size needs, in the guide's order. Where
// several of its rows hold, the most that one of them asks counts.
func For(s Size) []Part {
	var out []Part
	for i, r := range reasons() {
		p := Part{Name: r.name}
		for _, row := range scenarios() {
			if !row.holds(s) || row.needs[i] < p.Need || row.needs[i] == NotNeeded {
				continue
			}
			if row.needs[i] > p.Need {
				p.Need, p.Why = row.needs[i], nil
			}
			p.Why = append(p.Why, row.name)
		}
		if p.Need == NotNeeded {
			p.Why = []string{r.without}
		} else {
			p.Why, p.Set, p.Note = append(p.Why, r.needed), slices.Clone(r.set), r.note
		}
		if i == postgres && p.Need > NotNeeded {
			p.Note = fmt.Sprintf("with that pool Open WebUI takes up to %d connections: max_connections must be well above it (a PGVECTOR_DB_URL of its own has another pool)", s.Processes()*(15+20))
		}
		out = append(out, p)
	}
	return out
}

// Always gives the lines that several processes need whatever they store in,
// none for one process.
func Always(s Size) []string {
	if s.Processes() < 2 {
		return nil
	}
	workers := "UVICORN_WORKERS=1"
	if s.Workers > 1 {
		workers = fmt.Sprintf("UVICORN_WORKERS=%d", s.Workers)
	}
	out := []string{"WEBUI_SECRET_KEY=the old deployment's key", workers}
	if s.Instances > 1 {
		out = append(out, "ENABLE_DB_MIGRATIONS=false on all instances but one")
	}
	if s.Workers > 1 {
		out = append(out, "ENABLE_PIP_INSTALL_FRONTMATTER_REQUIREMENTS=false")
	}
	return out
}
