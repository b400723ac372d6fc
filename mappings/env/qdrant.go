package env

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// qdrant reads the QDRANT_* variables as config.py does; how the address is
// taken apart is qdrant-client 1.18.0's (qdrant_remote.py), which Open WebUI
// calls with url= or, with QDRANT_PREFER_GRPC, with host=.
func (l *loader) qdrant(q *QdrantConfig) {
	key, keyGiven := l.vars["QDRANT_API_KEY"]
	q.APIKey = Secret(key)
	q.PreferGRPC = l.isTrue("QDRANT_PREFER_GRPC", false)
	q.OnDisk = l.isTrue("QDRANT_ON_DISK", false)
	q.Multitenancy = l.isTrue("ENABLE_QDRANT_MULTITENANCY_MODE", true)
	q.GRPCPort = l.integer("QDRANT_GRPC_PORT", 6334, 1, 65535)
	q.Timeout = l.integer("QDRANT_TIMEOUT", 5, 1, 86400)
	q.HNSWM = l.integer("QDRANT_HNSW_M", 16, 0, 1<<20)
	q.Prefix = "open-webui"
	if s, ok := l.vars["QDRANT_COLLECTION_PREFIX"]; ok {
		q.Prefix = s
	}
	if i := strings.IndexAny(q.Prefix, "<>:\"/\\|?*\x00\x1f"); i >= 0 {
		l.fail("QDRANT_COLLECTION_PREFIX", fmt.Sprintf("Qdrant allows no %q in the name of a collection", q.Prefix[i]), "write letters, digits, - and _")
	}
	l.qdrantURI(q, keyGiven)
	if q.APIKey != "" && !q.TLS && q.Host != "" {
		l.warn("QDRANT_API_KEY", "goes over the network unencrypted", "use https if the network is not your own")
	}
}

func (l *loader) qdrantURI(q *QdrantConfig, keyGiven bool) {
	const name = "QDRANT_URI"
	const fix = "write http://HOST:6333 or https://HOST:6333"
	raw := l.vars[name]
	switch raw {
	case "":
		l.fail(name, "is missing while VECTOR_DB is qdrant", fix)
		return
	case ":memory:":
		l.fail(name, "Open WebUI cannot use Qdrant's memory mode", fix)
		return
	}
	whole := raw
	if !strings.Contains(raw, "://") {
		if q.PreferGRPC {
			l.fail(name, "has no http:// or https://, which Open WebUI needs with QDRANT_PREFER_GRPC=true", fix)
			return
		}
		whole = "//" + raw
	}
	u, err := url.Parse(whole)
	if err != nil || u.Hostname() == "" {
		l.fail(name, "is no address of a server", fix)
		return
	}
	switch strings.ToLower(u.Scheme) {
	case "https":
		q.TLS = true
	case "http":
	case "":
		q.TLS = keyGiven // qdrant-client's own default
	default:
		l.fail(name, fmt.Sprintf("Open WebUI knows no scheme %q", u.Scheme), fix)
		return
	}
	if q.PreferGRPC && q.TLS != keyGiven {
		// With host= the client knows no scheme.
		l.warn(name, "says nothing about encryption with QDRANT_PREFER_GRPC=true: Open WebUI encrypts exactly when QDRANT_API_KEY is set", "make both agree")
		q.TLS = keyGiven
	}
	if u.User != nil {
		l.warn(name, "has a user, which Open WebUI does not send", "use QDRANT_API_KEY")
		u.User = nil
	}
	if strings.Trim(u.Path, "/") != "" {
		l.warn(name, "has a path: outgrow speaks gRPC, which has none", fmt.Sprintf("make port %d of the server reachable (QDRANT_GRPC_PORT)", q.GRPCPort))
	}
	q.URI, q.Host = strings.TrimPrefix(u.String(), "//"), u.Hostname()
}

// integer reads a number that Open WebUI does not start without.
func (l *loader) integer(name string, def, least, most int) int {
	v, ok := l.vars[name]
	if !ok {
		return def
	}
	n, err := strconv.Atoi(strings.TrimSpace(v))
	if err != nil || n < least || n > most {
		l.fail(name, fmt.Sprintf("%q is not a number from %d to %d", v, least, most), fmt.Sprintf("correct it, or remove it for %d", def))
		return def
	}
	return n
}
