package env

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
)

// How the parameters of a PostgreSQL URL are taken on. Names: libpq's (the
// PostgreSQL 18 manual, section 34.1.2), which both of Open WebUI's drivers
// hand through; pgx takes those of libpqKept with the same meaning.
var (
	libpqKept = []string{"sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslsni", "sslnegotiation",
		"channel_binding", "require_auth", "sslcertmode", "min_protocol_version", "max_protocol_version",
		"connect_timeout", "application_name", "options", "target_session_attrs", "passfile", "service", "servicefile",
		"krbsrvname", "port", "user", "password"}
	// libpqTuning only tunes libpq's own connections.
	libpqTuning = []string{"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
		"gssencmode", "gsslib", "gssdelegation", "sslcompression", "client_encoding", "fallback_application_name", "load_balance_hosts", "hostaddr"}
	// libpqStrict makes a connection stricter than pgx can be told to.
	libpqStrict = []string{"sslcrl", "sslcrldir", "requirepeer", "ssl_min_protocol_version", "ssl_max_protocol_version"}
	// otherDrivers are asyncpg's or SQLAlchemy's; they reach no server.
	otherDrivers = []string{"prepared_statement_cache_size", "statement_cache_size", "prepared_statement_name_func", "async_fallback",
		"async_creator_fn", "command_timeout", "timeout", "server_settings", "max_cached_statement_lifetime", "max_cacheable_statement_size",
		"direct_tls", "prepare_threshold", "client_encoding"}
	sslModes = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
)

// params translates the query; hosts are those of SQLAlchemy's host=NAME:PORT.
func (l *loader) params(name, query string) (q url.Values, hosts []string) {
	q = url.Values{}
	in, err := url.ParseQuery(query)
	if err != nil {
		l.fail(name, "the parameters after ? cannot be read", "percent-encode them: NAME=VALUE&NAME=VALUE")
		return q, nil
	}
	for _, k := range sorted(in) {
		v := in[k][0]
		switch {
		case k == "host":
			hosts = append(hosts, l.hosts(q, in[k])...)
		case k == "dbname":
			q.Set("database", v)
		case k == "ssl":
			// Open WebUI reads it as sslmode, which wins when both are given.
			if in.Get("sslmode") == "" {
				l.sslmode(name, k, v, q)
			}
		case k == "sslmode":
			l.sslmode(name, k, v, q)
		case slices.Contains(libpqKept, k):
			q.Set(k, v)
			if (k == "sslrootcert" && v != "system") || k == "sslcert" || k == "sslkey" {
				if _, err := os.Stat(v); err != nil {
					l.warn(name, fmt.Sprintf("%s names %s, which is not on this machine", k, v), "set "+l.prefix()+"DATABASE_URL with the path as it is here")
				}
			}
		case slices.Contains(libpqTuning, k):
		case slices.Contains(libpqStrict, k):
			l.warn(name, fmt.Sprintf("parameter %s is not applied by outgrow", k), "check that this connection may do without it")
		case slices.Contains(otherDrivers, k):
			l.warn(name, fmt.Sprintf("parameter %s belongs to another driver; Open WebUI 0.12 connects with psycopg, which refuses it", k), "remove it")
		default:
			l.fail(name, fmt.Sprintf("parameter %q is none that PostgreSQL's client knows, so Open WebUI cannot connect with it", k), "correct or remove it")
		}
	}
	return q, hosts
}

func (l *loader) sslmode(name, key, v string, q url.Values) {
	if !slices.Contains(sslModes, v) {
		l.fail(name, fmt.Sprintf("%s=%s is no sslmode", key, v), "write sslmode=require (or "+strings.Join(sslModes, ", ")+")")
		return
	}
	q.Set("sslmode", v)
}

// hosts sets a socket folder as a parameter and gives the rest as HOST[:PORT].
func (l *loader) hosts(q url.Values, in []string) (out []string) {
	for _, h := range in {
		if strings.HasPrefix(h, "/") {
			q.Set("host", h)
			continue
		}
		out = append(out, strings.Split(h, ",")...)
	}
	return out
}

func sorted(v url.Values) []string {
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
