package env

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// milvusIndexes are the index types that Open WebUI has parameters for
// (retrieval/vector/dbs/milvus.py).
var milvusIndexes = []string{"HNSW", "IVF_FLAT", "DISKANN", "FLAT", "AUTOINDEX"}

// milvusMetrics are Milvus's metrics of float vectors.
var milvusMetrics = []string{"COSINE", "IP", "L2"}

// milvusName is what Milvus takes in the name of a collection.
var milvusName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// milvus reads the MILVUS_* variables as config.py does; how the address is
// taken apart is pymilvus 2.6.14's (client/connection_manager.py).
func (l *loader) milvus(m *MilvusConfig) {
	m.Multitenancy = l.isTrue("ENABLE_MILVUS_MULTITENANCY_MODE", false)
	m.Migrations = l.isTrue("ENABLE_DB_MIGRATIONS", true)
	m.Token = Secret(l.vars["MILVUS_TOKEN"])
	m.Database = "default"
	if s, ok := l.vars["MILVUS_DB"]; ok {
		m.Database = s
	}
	l.milvusURI(m)
	l.milvusPEM(m)
	if m.Token != "" && m.Address != "" && !m.TLS {
		l.warn("MILVUS_TOKEN", "goes over the network unencrypted", "use https if the network is not your own")
	}
	m.IndexType = l.milvusWord("MILVUS_INDEX_TYPE", "HNSW", milvusIndexes, m.Multitenancy)
	m.MetricType = l.milvusWord("MILVUS_METRIC_TYPE", "COSINE", milvusMetrics, m.Multitenancy)
	if m.MetricType != "COSINE" {
		l.warn("MILVUS_METRIC_TYPE", fmt.Sprintf("is %s, but Open WebUI reckons its scores as for COSINE", m.MetricType), "remove it, unless the collections are there already")
	}
	m.HNSWM = l.integer("MILVUS_HNSW_M", 16, 2, 2048)
	m.HNSWEf = l.integer("MILVUS_HNSW_EFCONSTRUCTION", 100, 1, 1<<31-1)
	m.IVFFlatNlist = l.integer("MILVUS_IVF_FLAT_NLIST", 128, 1, 65536)
	m.DiskANNDegree = l.integer("MILVUS_DISKANN_MAX_DEGREE", 56, 1, 512)
	m.DiskANNSearch = l.integer("MILVUS_DISKANN_SEARCH_LIST_SIZE", 100, 1, 1<<31-1)
	m.Prefix = "open_webui"
	if s, ok := l.vars["MILVUS_COLLECTION_PREFIX"]; ok {
		m.Prefix = strings.ReplaceAll(s, "-", "_")
		if m.Multitenancy && !milvusName.MatchString(m.Prefix+"_x") {
			l.fail("MILVUS_COLLECTION_PREFIX", fmt.Sprintf("%q cannot begin the name of a collection in Milvus", s), "write letters, digits and _, not a digit first")
		}
		if !m.Multitenancy {
			l.warn("MILVUS_COLLECTION_PREFIX", "is not used without ENABLE_MILVUS_MULTITENANCY_MODE=true", "remove it")
		}
	}
}

func (l *loader) milvusURI(m *MilvusConfig) {
	const name, fix = "MILVUS_URI", "write http://HOST:19530 or https://HOST:19530"
	raw, given := l.vars[name]
	if raw == "" && !given {
		raw = filepath.Join(l.d.DataDir, "vector_db", "milvus.db")
	}
	switch {
	case raw == "":
		l.fail(name, "is empty", fix)
		return
	case strings.HasPrefix(raw, "unix:"):
		l.fail(name, "names a unix socket", fix)
		return
	case !strings.Contains(raw, "://"):
		problem := fmt.Sprintf("is not set: Open WebUI keeps its vectors in %s by Milvus Lite, which only a Milvus Lite server can read", raw)
		if given {
			problem = "is a file: Open WebUI cannot start with it (pymilvus calls it an illegal uri), and only a Milvus Lite server can read it"
		}
		l.fail(name, problem, fmt.Sprintf("with Open WebUI stopped and on a copy of that folder run: milvus-lite server --data-dir COPY --host 127.0.0.1 --port 19530, "+
			"then give %s%s=http://127.0.0.1:19530", l.prefix(), name))
		return
	}
	u, err := url.Parse(raw)
	if err != nil || !slices.Contains([]string{"http", "https", "tcp"}, strings.ToLower(u.Scheme)) || u.Hostname() == "" {
		l.fail(name, "is no address of a server", fix)
		return
	}
	m.TLS = strings.EqualFold(u.Scheme, "https")
	port := u.Port()
	if port == "" {
		port = "19530"
		if m.TLS {
			port = "443"
		}
	}
	m.Address = net.JoinHostPort(u.Hostname(), port)
	if u.User != nil {
		if pw, ok := u.User.Password(); ok && m.Token == "" {
			m.Token = Secret(u.User.Username() + ":" + pw)
		}
		u.User = nil
	}
	if first, _, _ := strings.Cut(strings.Trim(u.Path, "/"), "/"); m.Database == "" {
		m.Database = first
	}
	m.URI = u.String()
}

func (l *loader) milvusPEM(m *MilvusConfig) {
	const name = "MILVUS_SERVER_PEM_PATH"
	if m.ServerPEM = l.vars[name]; m.ServerPEM == "" {
		return
	}
	if _, err := os.Stat(m.ServerPEM); err != nil {
		l.fail(name, fmt.Sprintf("%s cannot be read here", m.ServerPEM), fmt.Sprintf("give %s%s, the place of the file on this machine", l.prefix(), name))
	} else if !m.TLS && m.Address != "" {
		l.warn(name, "is not used: MILVUS_URI does not begin with https://", "write https:// in MILVUS_URI")
	}
}

// milvusWord reads a name that the plain client puts in upper case, and the
// multitenancy client passes on as it is.
func (l *loader) milvusWord(name, def string, known []string, asIs bool) string {
	raw, ok := l.vars[name]
	if !ok {
		return def
	}
	up := strings.ToUpper(raw)
	switch {
	case !slices.Contains(known, up):
		l.fail(name, fmt.Sprintf("Open WebUI has no use for %q", raw), "write one of "+strings.Join(known, ", "))
	case asIs && up != raw:
		l.warn(name, fmt.Sprintf("is passed on as %q with ENABLE_MILVUS_MULTITENANCY_MODE", raw), "write "+up)
	}
	return up
}
