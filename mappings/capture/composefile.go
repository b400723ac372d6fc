package capture

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/interpolation"
	"github.com/compose-spec/compose-go/v2/template"
	"gopkg.in/yaml.v3"
)

// composeFile is what is needed of a compose file, by the Compose specification.
// Variables and env files are read by the Compose project's own code. Its loader
// is not used: a program that links it compiles five JSON schemas at its start,
// whichever command is run; tests hold this reading against the loader's.
type composeFile struct {
	dir      string // where relative paths begin
	project  string
	services map[string]map[string]any
	volumes  map[string]any
	known    map[string]string // what ${NAME} is looked up in
	unset    []string          // names that were asked for, and are not known
}

// errOthers says that a file is not the whole.
var errOthers = errors.New("it is not the whole: it takes from other services or files")

// readCompose reads a file and replaces ${NAME} in it.
func readCompose(text []byte, dir string, known map[string]string) (*composeFile, error) {
	raw, err := oneDocument(text)
	if err != nil {
		return nil, err
	}
	if _, some := raw["include"]; some {
		return nil, fmt.Errorf("include: %w", errOthers)
	}
	f := &composeFile{dir: dir, project: projectName(filepath.Base(dir)), known: known}
	options := interpolation.Options{LookupValue: func(name string) (string, bool) { v, ok := known[name]; return v, ok }, Substitute: f.substitute}
	if given, err := interpolation.Interpolate(map[string]any{"name": raw["name"]}, options); err != nil {
		return nil, err
	} else if name, _ := given["name"].(string); projectName(name) != "" {
		f.project = projectName(name)
	}
	known["COMPOSE_PROJECT_NAME"] = f.project
	if raw, err = interpolation.Interpolate(raw, options); err != nil {
		return nil, err
	}
	services, err := mapping(raw["services"], "services")
	if err != nil {
		return nil, err
	}
	f.services = map[string]map[string]any{}
	for name, s := range services {
		if f.services[name], err = mapping(s, "services."+name); err != nil {
			return nil, err
		}
	}
	f.volumes, err = mapping(raw["volumes"], "volumes")
	return f, err
}

// oneDocument decodes YAML of one document. Tags that only mean something in a
// file that is laid over another one are refused, as all that is not the whole.
func oneDocument(text []byte) (map[string]any, error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("several documents: %w", errOthers)
	}
	for nodes := []*yaml.Node{&doc}; len(nodes) > 0; nodes = nodes[1:] {
		if tag := nodes[0].Tag; tag == "!reset" || tag == "!override" {
			return nil, fmt.Errorf("line %d, %s: %w", nodes[0].Line, tag, errOthers)
		}
		nodes = append(nodes, nodes[0].Content...)
	}
	var raw map[string]any
	return raw, doc.Decode(&raw)
}

// substitute is Compose's own replacement, which also notes what was not known.
func (f *composeFile) substitute(text string, known template.Mapping) (string, error) {
	return template.SubstituteWithOptions(text, known, template.WithoutLogging, template.WithReplacementFunction(
		func(part string, known template.Mapping, c *template.Config) (string, error) {
			v, found, err := template.DefaultReplacementAppliedFunc(part, known, c)
			if name := variable.FindString(part); err == nil && !found && name != "" && !slices.Contains(f.unset, name) {
				f.unset = append(f.unset, name)
			}
			return v, err
		}))
}

// projectName keeps what a project's name may have.
func projectName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return -1
	}, strings.ToLower(s))
	return strings.TrimLeft(s, "_-")
}

// environment gives the variables that a service sets itself; nil for those that
// it names alone.
func environment(service map[string]any, at string) (map[string]*string, error) {
	out := map[string]*string{}
	at += ".environment"
	switch v := service["environment"].(type) {
	case nil:
	case map[string]any:
		for name, value := range v {
			if value == nil {
				out[name] = nil
				continue
			}
			text, err := scalar(value, at+"."+name)
			if err != nil {
				return nil, err
			}
			out[name] = &text
		}
	case []any:
		for _, e := range v {
			text, ok := e.(string)
			if !ok {
				return nil, misshapen(at)
			}
			name, value, given := strings.Cut(text, "=")
			if out[name] = nil; given {
				out[name] = &value
			}
		}
	default:
		return nil, misshapen(at)
	}
	return out, nil
}

// variables gives what a service is started with, env files below its own
// environment, and the names of which no value is known.
func (f *composeFile) variables(service map[string]any, at string) (vars map[string]string, missing []string, err error) {
	own, err := environment(service, at)
	if err != nil {
		return nil, nil, err
	}
	vars = map[string]string{}
	for name, value := range own {
		if known, ok := f.known[name]; value == nil && ok {
			value, own[name] = &known, &known
		}
		if value != nil {
			vars[name] = *value
		}
	}
	files, err := list(service["env_file"], at+".env_file")
	if err != nil {
		return nil, nil, err
	}
	resolve := func(name string) (string, bool) {
		if v, ok := f.known[name]; ok {
			return v, true
		}
		if v := own[name]; v != nil {
			return *v, true
		}
		return "", false
	}
	for _, entry := range files {
		if err := f.envFile(entry, at+".env_file", vars, resolve); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range sortedKeys(own) {
		if value := own[name]; value != nil {
			vars[name] = *value
		} else {
			delete(vars, name)
			missing = append(missing, name)
		}
	}
	return vars, missing, nil
}

// envFile reads one entry of env_file into vars.
func (f *composeFile) envFile(entry any, at string, vars map[string]string, resolve dotenv.LookupFn) error {
	name, required, format := "", true, ""
	switch v := entry.(type) {
	case string:
		name = v
	case map[string]any:
		var err error
		if name, err = scalar(v["path"], at+".path"); err != nil {
			return err
		}
		if format, err = scalar(v["format"], at+".format"); err != nil {
			return err
		}
		if r, given := v["required"]; given {
			required = truth(r)
		}
	default:
		return misshapen(at)
	}
	file, err := os.Open(f.path(name))
	if errors.Is(err, os.ErrNotExist) && !required {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	return dotenv.ParseWithFormat(file, file.Name(), vars, resolve, format)
}

// bind is one entry of a service's volumes.
type bind struct {
	kind, source, target, subpath string
	readOnly                      bool
}

// binds reads a service's volumes. Of two with one target the later counts.
func (f *composeFile) binds(service map[string]any, at string) ([]bind, error) {
	at += ".volumes"
	entries, err := list(service["volumes"], at)
	if err != nil {
		return nil, err
	}
	var out []bind
	for _, entry := range entries {
		var b bind
		switch v := entry.(type) {
		case string:
			b, err = shortBind(v, at)
		case map[string]any:
			b, err = longBind(v, at)
		default:
			err = misshapen(at)
		}
		if err != nil {
			return nil, err
		}
		if b.kind == "bind" {
			b.source = f.path(b.source)
		}
		if i := slices.IndexFunc(out, func(o bind) bool { return o.target == b.target }); i >= 0 {
			out[i] = b
		} else {
			out = append(out, b)
		}
	}
	return out, nil
}

func longBind(v map[string]any, at string) (b bind, err error) {
	for _, field := range []struct {
		to   *string
		name string
	}{{&b.kind, "type"}, {&b.source, "source"}, {&b.target, "target"}} {
		if *field.to, err = scalar(v[field.name], at+"."+field.name); err != nil {
			return b, err
		}
	}
	volume, err := mapping(v["volume"], at+".volume")
	if err != nil {
		return b, err
	}
	b.subpath, err = scalar(volume["subpath"], at+".volume.subpath")
	b.readOnly = truth(v["read_only"])
	return b, err
}

// shortBind reads SOURCE:TARGET:OPTIONS, or a TARGET alone.
func shortBind(text, at string) (bind, error) {
	var parts []string
	for rest, more := text, true; more; {
		drive := ""
		if len(rest) > 1 && rest[1] == ':' && isLetter(rest[0]) && len(rest) > 2 {
			drive, rest = rest[:2], rest[2:] // of Windows
		}
		var part string
		part, rest, more = strings.Cut(rest, ":")
		parts = append(parts, drive+part)
	}
	if slices.Contains(parts, "") || len(parts) > 3 {
		return bind{}, misshapen(at)
	}
	b := bind{kind: "volume", target: parts[0]}
	if len(parts) > 1 {
		b.source, b.target = parts[0], parts[1]
	}
	if strings.ContainsAny(b.source[:min(1, len(b.source))], "./~") || onWindows(b.source) {
		b.kind = "bind"
	}
	if len(parts) > 2 {
		for _, option := range strings.Split(parts[2], ",") {
			b.readOnly = option == "ro" || b.readOnly && option != "rw"
		}
	}
	b.target = path.Clean(b.target)
	return b, nil
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// onWindows reports whether a path is one of Windows, which is left as it is.
func onWindows(p string) bool {
	return strings.HasPrefix(p, `\\`) || len(p) > 1 && p[1] == ':' && isLetter(p[0])
}

// path makes a path of the host whole.
func (f *composeFile) path(p string) string {
	if rest, ok := strings.CutPrefix(p, "~"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if filepath.IsAbs(p) || onWindows(p) {
		return p
	}
	return filepath.Join(f.dir, p)
}

// volume is a named volume: its name for Docker, and how its driver makes it.
func (f *composeFile) volume(source string) (name string, options map[string]string, err error) {
	at := "volumes." + source
	v, err := mapping(f.volumes[source], at)
	if err != nil {
		return "", nil, err
	}
	if name, err = scalar(v["name"], at+".name"); err != nil {
		return "", nil, err
	}
	if old, ok := v["external"].(map[string]any); ok { // before the format 3.4
		if name == "" {
			if name, err = scalar(old["name"], at+".external.name"); err != nil {
				return "", nil, err
			}
		}
		name = cmp.Or(name, source)
	} else if truth(v["external"]) {
		name = cmp.Or(name, source)
	}
	given, err := mapping(v["driver_opts"], at+".driver_opts")
	options = map[string]string{}
	for k, o := range given {
		if options[k], err = scalar(o, at+".driver_opts."+k); err != nil {
			return "", nil, err
		}
	}
	return cmp.Or(name, f.project+"_"+source), options, err
}

// misshapen names what is not as the specification says, without its value.
func misshapen(at string) error { return fmt.Errorf("%s is not what it should be", at) }

func mapping(v any, at string) (map[string]any, error) {
	if v == nil {
		return nil, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, misshapen(at)
	}
	return m, nil
}

// list gives a list, or one text as one.
func list(v any, at string) ([]any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []any{v}, nil
	case []any:
		return v, nil
	}
	return nil, misshapen(at)
}

// scalar gives text, a number or a boolean as Compose prints it, "" for null.
func scalar(v any, at string) (string, error) {
	switch v.(type) {
	case nil:
		return "", nil
	case map[string]any, map[any]any, []any:
		return "", misshapen(at)
	}
	return fmt.Sprint(v), nil
}

// truth reads a boolean, also one that stood in a variable.
func truth(v any) bool {
	b, err := strconv.ParseBool(fmt.Sprint(v))
	return err == nil && b
}

// count reads a number of replicas, 0 where none is said.
func count(v any) int {
	n, err := strconv.Atoi(fmt.Sprint(v))
	if err != nil {
		return 0
	}
	return n
}
