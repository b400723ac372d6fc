// Package dependencies lists what a deployment of Open WebUI leans on beside its
// rows, vectors and files: hosts and files that its settings name, packages that
// its tools and functions import, models that it loads itself. None of it moves;
// all of it must be there where the new one runs. Nothing it gives holds a secret:
// of an address only scheme, host and port. Sources: Open WebUI 0.12.4, config.py,
// env.py, utils/plugin.py, routers/knowledge.py, retrieval/loaders/main.py.
package dependencies

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"outgrow/mappings/env"
)

// Kind is what is leant on.
type Kind string

// The kinds, in the order in which they are told.
const (
	Host     Kind = "host"      // named by a config row
	External Kind = "knowledge" // an external knowledge connection
	File     Kind = "file"      // a certificate, key or folder named by a row or a variable
	Volume   Kind = "volume"    // data of a service beside Open WebUI
	Model    Kind = "model"     // loaded by Open WebUI itself
	Cache    Kind = "cache"     // models below DATA_DIR
	Branding Kind = "branding"  // static files of its own
	Package  Kind = "package"   // a Python package
)

// Item is one thing that is leant on.
type Item struct {
	Kind Kind `json:"kind"`
	// Where names it: a config row, a variable, a tool.
	Where string `json:"where"`
	// What it is: scheme://host:port, a path, a requirement.
	What string `json:"what"`
	// Reach is how far a host's name holds.
	Reach Reach `json:"reach,omitempty"`
	// Idle: the setting that uses it is switched off.
	Idle  bool   `json:"idle,omitempty"`
	Bytes int64  `json:"bytes,omitempty"`
	Note  string `json:"note,omitempty"` // what to do
}

// What is read of settings and plugins, at most: rows, and characters of a text.
const (
	MaxSettings    = 10000
	MaxValue       = 1 << 20
	MaxPlugins     = 10000
	MaxFrontmatter = 1 << 14
)

// Setting is a row of table config: a key and its value as JSON.
type Setting struct {
	Key   string
	Value []byte
}

// Plugin is a tool or a function.
type Plugin struct {
	Kind    string // "tool" or "function"
	ID      string
	Content string // its beginning, frontmatter included
	// Installs: Open WebUI installs its packages at each start, as the function is
	// active or the tool an administrator's.
	Installs bool
}

// Report is what there is.
type Report struct {
	Items []Item `json:"items"`
	// Requirements are the lines of a requirements.txt, sorted.
	Requirements []string `json:"requirements,omitempty"`
	// Unknown says what could not be looked into.
	Unknown string `json:"unknown,omitempty"`
}

// Find lists what settings, plugins and variables name. sides are the two
// deployments' variables, the source first.
func Find(settings []Setting, plugins []Plugin, sides ...env.Deployment) Report {
	f := &finder{values: map[string]any{}}
	if len(sides) > 0 {
		f.vars = sides[0].Vars
	}
	f.settings(settings)
	f.plugins(plugins)
	for _, d := range sides {
		f.variables(d)
	}
	slices.SortStableFunc(f.Items, func(a, b Item) int {
		return cmp.Or(cmp.Compare(rank(a.Kind), rank(b.Kind)), cmp.Compare(far(a), far(b)), strings.Compare(a.Where, b.Where), strings.Compare(a.What, b.What))
	})
	return f.Report
}

var order = [...]Kind{Host, External, File, Volume, Model, Cache, Branding, Package}

func rank(k Kind) int { return slices.Index(order[:], k) }

// far sorts what will surely not be there first, and what is not in use last.
func far(i Item) int {
	if i.Idle {
		return len(reaches)
	}
	return slices.Index(reaches[:], i.Reach)
}

type finder struct {
	Report
	values map[string]any // settings by key
	vars   map[string]env.Secret
}

func (f *finder) add(i Item) {
	i.Where, i.What = short(i.Where), short(i.What)
	if !slices.ContainsFunc(f.Items, func(o Item) bool { return o.Kind == i.Kind && o.Where == i.Where && o.What == i.What }) {
		f.Items = append(f.Items, i)
	}
}

func (f *finder) settings(all []Setting) {
	if v, ok := f.vars["ENABLE_PERSISTENT_CONFIG"]; ok && strings.EqualFold(v.Reveal(), "false") {
		return // the rows are not read
	}
	for _, s := range all {
		var v any
		if json.Unmarshal(s.Value, &v) == nil {
			f.values[s.Key] = v
		}
	}
	for _, s := range all {
		v, ok := f.values[s.Key]
		switch {
		case !ok || ignored(s.Key) || strings.HasPrefix(s.Key, "oauth.") && !f.set("ENABLE_OAUTH_PERSISTENT_CONFIG"):
		case s.Key == "external_knowledge.connections":
			f.knowledge(v)
		case s.Key == "ldap.server.ca_cert_file":
			if path, _ := v.(string); path != "" {
				f.add(Item{Kind: File, Where: s.Key, What: path, Idle: f.idle(s.Key), Note: "mount it in every instance at this path"})
			}
		case s.Key == "ldap.server.host":
			if name, _ := v.(string); name != "" {
				f.host(s.Key, "", name)
			}
		default:
			f.walk(s.Key, "", v)
		}
	}
	f.models()
}

// Flatten makes settings of the one document that Open WebUI kept before 0.10.
func Flatten(document []byte) []Setting {
	var out []Setting
	var walk func(key string, v any)
	walk = func(key string, v any) {
		if m, ok := v.(map[string]any); ok {
			for k, e := range m {
				walk(strings.TrimPrefix(key+"."+k, "."), e)
			}
			return
		}
		if text, err := json.Marshal(v); err == nil {
			out = append(out, Setting{key, text})
		}
	}
	var v any
	if json.Unmarshal(document, &v) == nil {
		walk("", v)
	}
	slices.SortFunc(out, func(a, b Setting) int { return strings.Compare(a.Key, b.Key) })
	return out
}

func (f *finder) set(name string) bool { return strings.EqualFold(f.vars[name].Reveal(), "true") }

// text gives a setting's string, "" where it is another.
func (f *finder) text(key string) string {
	s, _ := f.values[key].(string)
	return s
}

// walk finds the addresses in a value. name is that of the connection they are in.
func (f *finder) walk(key, name string, v any) {
	switch v := v.(type) {
	case string:
		if scheme, host, ok := address(v); ok {
			where := key
			if name != "" {
				where += " (" + name + ")"
			}
			f.host(where, scheme, host)
		}
	case []any:
		for _, e := range v {
			f.walk(key, name, e)
		}
	case map[string]any:
		name = cmp.Or(title(v), name)
		for _, e := range v {
			f.walk(key, name, e)
		}
	}
}

// title is what a connection is called.
func title(m map[string]any) string {
	info, _ := m["info"].(map[string]any)
	for _, in := range []map[string]any{info, m} {
		for _, k := range []string{"name", "id"} {
			if s, ok := in[k].(string); ok && s != "" && !strings.Contains(s, "://") {
				return s
			}
		}
	}
	return ""
}

func (f *finder) knowledge(v any) {
	list, _ := v.([]any)
	for _, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			continue
		}
		provider, _ := m["provider"].(string)
		endpoint, _ := m["endpoint"].(string)
		scheme, host, ok := address(endpoint)
		what := "an address that cannot be shown"
		if ok {
			what = join(scheme, host)
		}
		enabled, given := m["enabled"].(bool)
		f.add(Item{Kind: External, Where: cmp.Or(title(m), "without a name") + " (" + provider + ")", What: what, Reach: reach(host), Idle: given && !enabled,
			Note: "the documents of its knowledge bases are there and are not moved: it must be reached from every instance"})
	}
}

// short keeps names of people's things to a line.
func short(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 200 {
		s = string(r[:199]) + "…"
	}
	return s
}
