package capture

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

const composeHint = "say docker compose config -q in that folder, which tells more; a file that needs others beside it must be read where it lies"

// wholeHint is for a file that takes from others.
const wholeHint = "give the whole: docker compose config | outgrow capture"

// compose reads a compose file.
func compose(in Input) (App, error) {
	dir, err := filepath.Abs(cmp.Or(in.Dir, "."))
	if err != nil {
		return App{}, err
	}
	known, err := surroundings(dir, in.Environ)
	if err != nil {
		return App{}, unreadable(err)
	}
	f, err := readCompose(in.Text, dir, known)
	if err != nil {
		return App{}, unreadable(err)
	}
	var apps []App
	for name, s := range f.services {
		at := "services." + name
		image, err := scalar(s["image"], at+".image")
		if err != nil {
			return App{}, unreadable(err)
		}
		own, err := environment(s, at)
		if err != nil {
			return App{}, unreadable(err)
		}
		vars := map[string]env.Secret{}
		for k := range own {
			vars[k] = "" // by its name alone
		}
		apps = append(apps, App{Name: name, Image: image, likely: looks(image, vars)})
	}
	a, err := pick(apps, in.Name, "service")
	if err != nil {
		return App{}, err
	}
	if a, err = f.service(a.Name, a.Image); err != nil {
		return App{}, unreadable(err)
	}
	return a.settle()
}

// surroundings is what ${NAME} is looked up in: the environment before .env.
func surroundings(dir string, environ []string) (map[string]string, error) {
	known := map[string]string{}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok {
			known[k] = v
		}
	}
	f, err := os.Open(filepath.Join(dir, ".env"))
	if errors.Is(err, fs.ErrNotExist) {
		return known, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	file, err := dotenv.ParseWithLookup(f, func(name string) (string, bool) { v, ok := known[name]; return v, ok })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	for k, v := range file {
		if _, ok := known[k]; !ok {
			known[k] = v
		}
	}
	return known, nil
}

// variable matches the name in ${NAME}.
var variable = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)

// repeated matches where the parser begins to repeat what stands in the file,
// which may be a secret: at a quote, in the next line, after the number of a line.
var repeated = regexp.MustCompile("(line \\d+)|[\"'`\\n]")

// unreadable is the parser's error without what it repeats of the file.
func unreadable(err error) error {
	if errors.Is(err, errOthers) {
		return pipeline.Usage("reading the compose file", err, wholeHint)
	}
	text := err.Error()
	if at := repeated.FindStringSubmatchIndex(text); at != nil {
		end := at[0]
		if at[2] >= 0 {
			end = at[3]
		}
		text = text[:end] + " …"
	}
	return pipeline.Usage("reading the compose file", errors.New(text), composeHint)
}

// service describes one of the services.
func (f *composeFile) service(name, image string) (App, error) {
	s, at := f.services[name], "services."+name
	if _, some := s["extends"]; some {
		return App{}, fmt.Errorf("%s.extends: %w", at, errOthers)
	}
	a := App{From: "compose", Name: name, Image: image, Vars: map[string]env.Secret{}, Stop: "docker compose stop " + name}
	var err error
	for _, field := range []struct {
		to   *string
		name string
	}{{&a.User, "user"}, {&a.WorkDir, "working_dir"}, {&a.Restart, "restart"}} {
		if *field.to, err = scalar(s[field.name], at+"."+field.name); err != nil {
			return App{}, err
		}
	}
	if a.Restart == "no" {
		a.Restart = ""
	}
	a.WorkDir = cmp.Or(a.WorkDir, workDir)
	if a.Image == "" && s["build"] != nil {
		context, ok := s["build"].(string)
		if b, err := mapping(s["build"], at+".build"); !ok && err == nil {
			context, _ = b["context"].(string)
		}
		a.Notes = append(a.Notes, "the image is built from "+cmp.Or(context, "."))
	}
	vars, missing, err := f.variables(s, at)
	if err != nil {
		return App{}, err
	}
	for k, v := range vars {
		a.Vars[k] = env.Secret(v)
	}
	for _, k := range missing {
		a.Notes = append(a.Notes, k+" is taken from the shell that starts compose, and was not set here: it is left out")
	}
	slices.Sort(f.unset)
	if len(f.unset) > 0 {
		a.Notes = append(a.Notes, "not set here, so taken as empty, as compose would: "+strings.Join(f.unset, ", "))
	}
	deploy, err := mapping(s["deploy"], at+".deploy")
	if err != nil {
		return App{}, err
	}
	if count(s["scale"]) > 1 || count(deploy["replicas"]) > 1 {
		a.Notes = append(a.Notes, "several replicas: all of them must be stopped")
	}
	if err := f.mounts(&a, s, at); err != nil {
		return App{}, err
	}
	cp := "docker compose cp " + name + ":"
	a.copyFile = func(from, to string) string { return cp + from + " " + to }
	a.copyDir = a.copyFile
	return a, nil
}

// mounts tells where the service's folders lie.
func (f *composeFile) mounts(a *App, service map[string]any, at string) error {
	binds, err := f.binds(service, at)
	if err != nil {
		return err
	}
	for _, b := range binds {
		m := Mount{Path: b.target, Kind: b.kind, ReadOnly: b.readOnly}
		switch b.kind {
		case "bind":
			m.Host = b.source
		case "volume":
			sub := ""
			if b.subpath != "" {
				sub = "/" + strings.Trim(b.subpath, "/")
			}
			if err := f.named(&m, b.source, sub); err != nil {
				return err
			}
		case "tmpfs":
			m.Note = "in memory: it goes when the container stops"
		}
		a.Mounts = append(a.Mounts, m)
	}
	slices.SortFunc(a.Mounts, func(x, y Mount) int { return strings.Compare(x.Path, y.Path) })
	return nil
}

// named tells where a named volume lies: by its options, else Docker knows.
func (f *composeFile) named(m *Mount, source, sub string) error {
	if source == "" {
		m.Note = "a volume without a name: docker inspect of the container tells which"
		return nil
	}
	name, driver, err := f.volume(source)
	if err != nil {
		return err
	}
	m.Name = name
	device, options := driver["device"], strings.Split(driver["o"], ",")
	switch {
	case strings.HasPrefix(driver["type"], "nfs"):
		server := ""
		for _, o := range options {
			if addr, ok := strings.CutPrefix(o, "addr="); ok {
				server = addr
			}
		}
		m.Kind, m.Name = "nfs", server+":"+strings.TrimPrefix(device, ":")+sub
		m.Note = "mount it here, or run outgrow where it is mounted"
	case slices.Contains(options, "bind") && device != "":
		m.Host = f.path(device) + sub
	default:
		m.Note = "docker volume inspect -f '{{.Mountpoint}}' " + m.Name + " tells where it lies"
		if sub != "" {
			m.Note += ", and " + sub[1:] + " below that is mounted"
		}
	}
	return nil
}
