package env

import (
	"errors"
	"net/url"
	"strings"
)

// errNamedTwice is for a URL whose parameters name the database.
var errNamedTwice = errors.New("its parameters name the database: give it in the path, postgresql://USER:PASSWORD@HOST:5432/NAME")

// OtherDatabase gives the variables, as Open WebUI takes them, that make the
// deployment use another database of the same PostgreSQL server; given empty, a
// variable is to be removed.
func (d Deployment) OtherDatabase(name string) (map[string]Secret, error) {
	l := &loader{d: d, vars: map[string]string{}}
	for k, v := range d.Vars {
		l.vars[k] = v.Reveal()
	}
	variable, raw := l.databaseURL()
	other, err := withDatabase(raw, name)
	if err != nil {
		return nil, &ConfigError{Side: d.Side, Variable: variable, Problem: d.Redact(err.Error()), Fix: "set " + l.prefix() + "DATABASE_URL"}
	}
	vars := map[string]Secret{"DATABASE_URL": Secret(other)}
	for _, part := range databaseParts {
		if _, given := d.Vars[part]; given {
			vars[part] = ""
		}
	}
	return vars, nil
}

// withDatabase replaces the database in a URL and leaves all else as it is
// written.
func withDatabase(raw, name string) (string, error) {
	if raw == "" {
		return "", errors.New("is empty")
	}
	u, problem, _ := split(raw)
	if problem != "" {
		return "", errors.New(problem)
	}
	if q, err := url.ParseQuery(u.query); err != nil || q.Has("dbname") || q.Has("service") {
		return "", errNamedTwice
	}
	at := len(urlScheme.FindString(raw))
	if m := urlUser.FindStringIndex(raw[at:]); m != nil {
		at += m[1]
	}
	place, _, _ := strings.Cut(raw[at:], "?")
	server, _, _ := strings.Cut(place, "/")
	other := raw[:at] + server + "/" + name
	if u.query != "" {
		other += "?" + u.query
	}
	return other, nil
}
