// Package shadow tells which environment variables Open WebUI passes over because
// its database has a row of table config for them. After the first start the row
// wins. Source: DEFAULT_CONFIG of Open WebUI 0.12.4 (config.py), taken over by
// keys.py; older releases lack some of the keys.
package shadow

import (
	_ "embed"
	"slices"
	"strings"

	"outgrow/mappings/env"
)

//go:embed keys.tsv
var table string

// Row is a row of table config and a variable that it beats.
type Row struct {
	Key      string `json:"key"`
	Variable string `json:"variable"`
}

// Rows lists what the config rows of these keys beat among the variables, sorted:
// of several variables that stand in for each other the one that would count.
// ENABLE_PERSISTENT_CONFIG=false lets every variable win; the rows of oauth.* beat
// theirs only with ENABLE_OAUTH_PERSISTENT_CONFIG=true.
func Rows(keys []string, vars map[string]env.Secret) []Row {
	is := func(name string, def bool) bool {
		if v, ok := vars[name]; ok {
			return strings.EqualFold(v.Reveal(), "true")
		}
		return def
	}
	if !is("ENABLE_PERSISTENT_CONFIG", true) {
		return nil
	}
	there := map[string]bool{}
	for _, k := range keys {
		there[k] = true
	}
	var out []Row
	for line := range strings.Lines(table) {
		key, names, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok || !there[key] || strings.HasPrefix(key, "oauth.") && !is("ENABLE_OAUTH_PERSISTENT_CONFIG", false) {
			continue
		}
		for _, name := range strings.Fields(names) {
			prefix, wild := strings.CutSuffix(name, "*")
			n := len(out)
			for v := range vars {
				if v == name || wild && strings.HasPrefix(v, prefix) {
					out = append(out, Row{key, v})
				}
			}
			if len(out) > n {
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b Row) int { return strings.Compare(a.Variable+" "+a.Key, b.Variable+" "+b.Key) })
	return out
}
