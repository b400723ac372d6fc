package env

import (
	"fmt"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// database reads DATABASE_URL and the variables that can stand for it.
func (l *loader) database() {
	name, raw := l.databaseURL()
	if l.isTrue("DATABASE_ENABLE_IAM_TOKEN_AUTH", false) {
		l.notYet("DATABASE_ENABLE_IAM_TOKEN_AUTH", "signing in with a short-lived AWS token",
			fmt.Sprintf("set %sDATABASE_URL with a password and %sDATABASE_ENABLE_IAM_TOKEN_AUTH=false", l.prefix(), l.prefix()))
	}
	scheme, _, _ := strings.Cut(raw, "://")
	dialect, driver, _ := strings.Cut(strings.ToLower(scheme), "+")
	switch {
	case raw == "":
		l.fail(name, "is empty, which Open WebUI refuses to start with", "give the URL, or remove the variable for SQLite in DATA_DIR")
	case driver == "sqlcipher":
		l.notYet(name, "a SQLCipher database", "decrypt it into a plain one first (sqlcipher: ATTACH … KEY '', SELECT sqlcipher_export) and name that; 0.12 cannot run on SQLCipher either")
	case dialect == "sqlite":
		l.sqlite(name, raw)
	case dialect == "postgresql":
		l.d.Database.Kind = Postgres
		l.d.Database.URL = l.postgres(name, raw)
		l.d.Database.Schema = l.vars["DATABASE_SCHEMA"]
	default:
		l.fail(name, "is not a URL that Open WebUI takes", "write postgresql://USER:PASSWORD@HOST:5432/NAME or sqlite:///PATH")
	}
}

// databaseParts stand for DATABASE_URL when all of them are given.
var databaseParts = []string{"DATABASE_TYPE", "DATABASE_USER", "DATABASE_PASSWORD", "DATABASE_HOST", "DATABASE_PORT", "DATABASE_NAME"}

// databaseURL gives the URL that Open WebUI would use, and the variable to
// blame for it. Type, host, port, name and a user or a password, all set and
// not empty, override DATABASE_URL and are joined as plain text.
func (l *loader) databaseURL() (name, raw string) {
	v := l.vars
	cred := v["DATABASE_USER"]
	if p := v["DATABASE_PASSWORD"]; p != "" {
		cred += ":" + p
	}
	var have, missing []string
	for _, n := range databaseParts {
		if v[n] != "" {
			have = append(have, n)
		} else {
			missing = append(missing, n)
		}
	}
	whole := cred != "" && v["DATABASE_TYPE"] != "" && v["DATABASE_HOST"] != "" && v["DATABASE_PORT"] != "" && v["DATABASE_NAME"] != ""
	raw, given := v["DATABASE_URL"]
	name = "DATABASE_URL"
	switch {
	case whole:
		joined := v["DATABASE_TYPE"] + "://" + cred + "@" + v["DATABASE_HOST"] + ":" + v["DATABASE_PORT"] + "/" + v["DATABASE_NAME"]
		if given && raw != joined {
			l.warn("DATABASE_URL", "is overridden by DATABASE_TYPE … DATABASE_NAME", "keep one of the two")
		}
		name, raw = "DATABASE_TYPE … DATABASE_NAME", joined
		if strings.Contains(v["DATABASE_PASSWORD"], "@") {
			name = "DATABASE_PASSWORD"
		} else if strings.ContainsAny(v["DATABASE_USER"], "@:/") {
			name = "DATABASE_USER"
		}
	case v["DATABASE_TYPE"] == "sqlite+sqlcipher" && raw == "":
		return "DATABASE_TYPE", "sqlite+sqlcipher:///" + l.d.DataDir + "/webui.db"
	default:
		if len(have) > 0 {
			instead := "DATABASE_URL"
			if !given {
				instead = "SQLite in DATA_DIR"
			}
			l.warn(have[0], fmt.Sprintf("is not used, because %s is missing: Open WebUI takes %s", strings.Join(missing, ", "), instead), "set all six, or none")
		}
		if !given {
			raw = "sqlite:///" + l.d.DataDir + "/webui.db"
		}
	}
	// The application replaces the text wherever it stands.
	return name, strings.ReplaceAll(raw, "postgres://", "postgresql://")
}

// urlUser and urlPlace take a database URL apart the way SQLAlchemy 2 does: the
// user ends at the first ":" or "/", the password at the first "@".
var (
	urlScheme = regexp.MustCompile(`^([\w+]+)://`)
	urlUser   = regexp.MustCompile(`^([^:/]*)(?::([^@]*))?@`)
	urlPlace  = regexp.MustCompile(`^(?:\[([^/?]+)\]|([^/:?]+))?(?::([^/?]*))?(?:/([^?]*))?(?:\?(.*))?$`)
)

// urlParts are the parts of a database URL, user and password decoded.
type urlParts struct {
	user, pass         string
	hasUser, hasPass   bool
	rawPass            string
	host, port, dbname string
	query              string
}

// split takes a URL apart; problem is "" when it can be used.
func split(raw string) (u urlParts, problem, fix string) {
	const form = "write postgresql://USER:PASSWORD@HOST:5432/NAME"
	if strings.ContainsAny(raw[:1], `"'`) {
		return u, "begins with a quote, which belongs to the value here", "remove the quotes"
	}
	m := urlScheme.FindStringSubmatch(raw)
	if m == nil {
		return u, "is not a URL", form
	}
	rest := raw[len(m[0]):]
	if i := urlUser.FindStringSubmatchIndex(rest); i != nil {
		u.hasUser, u.user = true, Unquote(rest[i[2]:i[3]])
		if i[4] >= 0 {
			u.hasPass, u.rawPass = true, rest[i[4]:i[5]]
			u.pass = Unquote(u.rawPass)
		}
		rest = rest[i[1]:]
	}
	m = urlPlace.FindStringSubmatch(rest)
	if m == nil {
		return u, "is not a URL that Open WebUI can read", form
	}
	u.host, u.port, u.dbname, u.query = m[1]+m[2], m[3], m[4], m[5]
	if u.hasUser && strings.Contains(u.host+u.port+u.dbname, "@") {
		return u, "user or password hold an @ that is not percent-encoded: Open WebUI takes what follows the first @ for the host",
			"write @ as %40, : as %3A, / as %2F and % as %25 in user and password"
	}
	if strings.Trim(u.port, "0123456789") != "" {
		return u, "the port is not a number", form
	}
	return u, "", ""
}

// Unquote decodes percent escapes and leaves what is none, as Python does.
func Unquote(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// postgres turns a URL as Open WebUI takes it into one as pgx takes it.
func (l *loader) postgres(name, raw string) Secret {
	u, problem, fix := split(raw)
	if problem != "" {
		l.fail(name, problem, fix)
		return ""
	}
	if strings.ContainsAny(u.rawPass, "/?#[]") {
		l.warn(name, "the password holds characters that should be percent-encoded (/ ? # [ ]): Open WebUI reads them, other programs do not",
			"write / as %2F, ? as %3F, # as %23")
	}
	out := url.URL{Scheme: "postgresql", Host: u.host}
	switch {
	case u.hasPass:
		out.User = url.UserPassword(u.user, u.pass)
	case u.hasUser:
		out.User = url.User(u.user)
	}
	if u.port != "" {
		out.Host = net.JoinHostPort(u.host, u.port)
	} else if strings.Contains(u.host, ":") {
		out.Host = "[" + u.host + "]"
	}
	if u.dbname != "" {
		out.Path = "/" + u.dbname
	}
	q, hosts := l.params(name, u.query)
	if len(hosts) > 0 && u.host == "" {
		out.Host = strings.Join(hosts, ",")
	}
	out.RawQuery = q.Encode()
	return Secret(out.String())
}

// sqlite finds the file of a sqlite:/// URL as reached from here.
func (l *loader) sqlite(name, raw string) {
	l.d.Database.Kind = SQLite
	_, rest, _ := strings.Cut(raw, "://")
	file, _, _ := strings.Cut(rest, "?")
	file, ok := strings.CutPrefix(file, "/")
	if !ok || file == "" || file == ":memory:" || strings.HasPrefix(file, "file:") {
		l.fail(name, "names no SQLite file", "write sqlite:///PATH, with four slashes for an absolute path")
		return
	}
	l.d.Database.Path = l.reach(name, pythonPath(file))
}

// reach maps a path of the application's to this machine.
func (l *loader) reach(name, p string) string {
	candidates := []string{p}
	if !path.IsAbs(p) {
		candidates = append(candidates, path.Join(dockerWorkDir, p))
	}
	for _, c := range candidates {
		if rel, err := filepath.Rel(l.d.DataDir, c); err == nil && filepath.IsLocal(rel) {
			return filepath.Join(l.d.Mount, rel)
		}
	}
	if path.IsAbs(p) {
		return p
	}
	base := l.d.Origin
	if !l.d.IsFolder {
		base = filepath.Dir(base)
	}
	at, err := filepath.Abs(filepath.Join(base, p))
	if err != nil {
		at = filepath.Join(base, p)
	}
	l.warn(name, "is a relative path, which depends on where Open WebUI is started; here it is taken to be "+at, "give an absolute path")
	return at
}

// Describe names the database for people: the file, or host and name, without
// user, password or parameters.
func (d Database) Describe() string {
	if d.Kind == SQLite {
		return d.Path
	}
	return DescribeURL(d.URL)
}

// DescribeURL names the server and database of a URL made by [Load].
func DescribeURL(s Secret) string {
	u, err := url.Parse(s.Reveal())
	if err != nil || s == "" {
		return ""
	}
	host := strings.TrimSuffix(u.Host, ":5432")
	if host == "" {
		host = u.Query().Get("host")
	}
	if host == "" {
		host = "localhost"
	}
	db := strings.TrimPrefix(u.Path, "/")
	if db == "" {
		db = u.User.Username()
	}
	return host + "/" + db
}
