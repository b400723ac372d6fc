// Package capture reads how a running Open WebUI was started from what the tools
// that run it print: `docker inspect`, `kubectl get -o json`, a compose file. It
// asks no daemon and no cluster; it works on saved text. Sources: the Docker
// Engine API 1.4x (ContainerInspect), the Kubernetes API (apps/v1, core/v1), the
// Compose specification by its own parser; Open WebUI's Dockerfile and start.sh.
package capture

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// workDir is the folder in which Open WebUI's image starts it.
const workDir = "/app/backend"

// KeyFile is the name that [Key.Fetch] gives the key's file.
const KeyFile = "webui_secret_key"

// Input is what to read.
type Input struct {
	Text []byte
	// Dir is the folder of a compose file: its .env, env_file and relative paths
	// begin there.
	Dir string
	// Name picks one of several: of a container, a workload or a service.
	Name string
	// Environ is what ${NAME} of a compose file is looked up in, before .env.
	Environ []string
}

// Mount is a folder of the container that lies elsewhere.
type Mount struct {
	Path     string `json:"path"` // in the container
	Kind     string `json:"kind"` // bind, volume, hostPath, nfs, claim, emptyDir, …
	Name     string `json:"name,omitempty"`
	Host     string `json:"host,omitempty"` // where it is on the host, "" where that is not told
	ReadOnly bool   `json:"read_only,omitempty"`
	Note     string `json:"note,omitempty"` // what to know, or how to find the place
}

// App is one Open WebUI as it was started.
type App struct {
	From    string `json:"from"` // "docker", "kubernetes" or "compose"
	Name    string `json:"name"`
	Image   string `json:"image"`
	Version string `json:"version,omitempty"` // the image's own label, if it has one
	// User is UID[:GID], "" for the image's own.
	User    string   `json:"user,omitempty"`
	WorkDir string   `json:"working_dir"`
	Restart string   `json:"restart,omitempty"` // what brings it back after a stop
	Stop    string   `json:"stop"`              // the command that stops it for good
	Mounts  []Mount  `json:"mounts"`
	Notes   []string `json:"notes,omitempty"`
	// Vars are Open WebUI's variables: those of the machine and of the image's
	// build are left out.
	Vars map[string]env.Secret `json:"-"`
	// copyFile and copyDir give the command that copies out of the container.
	copyFile, copyDir func(from, to string) string
	// missing are variables whose values are not in the input.
	missing []string
	likely  bool
}

// machine matches variables that belong to the container, its image's build, or
// Kubernetes' service links, not to Open WebUI's configuration.
var machine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(PATH|HOME|HOSTNAME|PWD|OLDPWD|SHLVL|TERM|LANG|LC_ALL|GPG_KEY|_|container|NODE_NAME|POD_.*|DEBIAN_FRONTEND|LD_LIBRARY_PATH|` +
		`PYTHON_VERSION|PYTHON_SHA256|PYTHON_PIP_VERSION|PYTHON_SETUPTOOLS_VERSION|PYTHON_GET_PIP_(URL|SHA256)|PYTHONUNBUFFERED|` +
		`ENV|DOCKER|WEBUI_BUILD_VERSION|NVIDIA_(VISIBLE_DEVICES|DRIVER_CAPABILITIES|REQUIRE_CUDA|PRODUCT_NAME)|` +
		`KUBERNETES_(SERVICE|PORT).*|[A-Z0-9_]+_SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|[A-Z0-9_]+_PORT_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)$`)
})

// ours matches the image of Open WebUI itself, not of its pipelines or terminals.
var ours = regexp.MustCompile(`(?i)(^|/)open-?webui(:[^/]*)?(@[^/]*)?$`)

// Read finds the Open WebUI that the input describes.
func Read(in Input) (App, error) {
	text := bytes.TrimSpace(bytes.TrimPrefix(in.Text, []byte("\xef\xbb\xbf")))
	const hint = "give the output of docker inspect NAME, of kubectl get deploy,sts,cm,secret,pvc -o json, or a compose file"
	if len(text) == 0 {
		return App{}, pipeline.Usage("reading the input", errors.New("it is empty"), hint)
	}
	var probe struct {
		Kind     string    `yaml:"kind"`
		Services yaml.Node `yaml:"services"`
		Include  yaml.Node `yaml:"include"`
	}
	if text[0] != '[' {
		if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&probe); err != nil {
			return App{}, pipeline.Usage("reading the input", errors.New("it is neither JSON nor YAML"), hint)
		}
	}
	switch {
	case !probe.Services.IsZero() || !probe.Include.IsZero():
		return compose(in)
	case probe.Kind != "":
		return kubernetes(text, in.Name)
	case text[0] == '[' || text[0] == '{':
		return docker(text, in.Name)
	}
	return App{}, pipeline.Usage("reading the input", errors.New("it is none of the three kinds"), hint)
}

// pick chooses the one that was meant.
func pick(apps []App, name, what string) (App, error) {
	if len(apps) == 0 {
		return App{}, pipeline.Usage("looking for Open WebUI", fmt.Errorf("there is no %s in the input", what), "save it again, with Open WebUI in it")
	}
	var fit []App
	for _, a := range apps {
		if name != "" && (a.Name == name || path.Base(a.Name) == name) || name == "" && a.likely {
			fit = append(fit, a)
		}
	}
	if name == "" && len(fit) == 0 && len(apps) == 1 {
		return apps[0], nil
	}
	if len(fit) == 1 {
		return fit[0], nil
	}
	var names []string
	list := apps
	if len(fit) > 1 {
		list = fit
	}
	for _, a := range list {
		names = append(names, a.Name+" ("+a.Image+")")
	}
	slices.Sort(names)
	problem := "none of them is surely Open WebUI"
	switch {
	case len(fit) > 1:
		problem = "several may be meant"
	case name != "":
		problem = "none is called " + name
	}
	return App{}, pipeline.Usage("looking for Open WebUI", fmt.Errorf("%s: %s", problem, strings.Join(names, ", ")), "say which with --name")
}

// settle leaves out what is the machine's, and checks that nothing is missing.
func (a App) settle() (App, error) {
	if len(a.missing) > 0 {
		slices.Sort(a.missing)
		return App{}, pipeline.Usage("reading the variables of "+a.Name, fmt.Errorf("the input does not have what they refer to: %s", strings.Join(a.missing, ", ")),
			"save it again with these: without them the file would describe another deployment")
	}
	for name := range a.Vars {
		if machine().MatchString(name) {
			delete(a.Vars, name)
		}
	}
	for _, key := range []string{"WEBUI_SECRET_KEY", "WEBUI_JWT_SECRET_KEY"} {
		if v, ok := a.Vars[key]; ok && v == "" {
			delete(a.Vars, key) // the image sets it empty: the key is in a file then
		}
	}
	return a, nil
}

// looks reports whether image or variables are Open WebUI's.
func looks(image string, vars map[string]env.Secret) bool {
	if ours.MatchString(image) {
		return true
	}
	for name := range vars {
		if strings.HasPrefix(name, "WEBUI_") {
			return true
		}
	}
	return false
}

// DataDir is DATA_DIR as the app sees it.
func (a App) DataDir() string {
	dir := a.Vars["DATA_DIR"].Reveal()
	if dir == "" {
		return env.DockerDataDir
	}
	if !path.IsAbs(dir) {
		dir = path.Join(a.WorkDir, dir)
	}
	return path.Clean(dir)
}

// At gives the mount that a path of the container lies in, and the path on the
// host where that is known. ok is false in the container's own layer.
func (a App) At(p string) (m Mount, host string, ok bool) {
	for _, c := range a.Mounts {
		if rest, in := below(p, c.Path); in && (!ok || len(c.Path) > len(m.Path)) {
			m, ok = c, true
			host = ""
			if c.Host != "" {
				host = strings.TrimSuffix(c.Host, "/") + rest
			}
		}
	}
	return m, host, ok
}

// Inside lists the mounts below a folder: its content is in several places then.
func (a App) Inside(dir string) (out []Mount) {
	for _, m := range a.Mounts {
		if rest, in := below(m.Path, dir); in && rest != "" {
			out = append(out, m)
		}
	}
	return out
}

// below gives what follows dir in p.
func below(p, dir string) (rest string, ok bool) {
	p, dir = path.Clean(p), path.Clean(dir)
	if p == dir {
		return "", true
	}
	if dir == "/" {
		return p, true
	}
	rest, ok = strings.CutPrefix(p, dir+"/")
	return "/" + rest, ok
}

// Key says where WEBUI_SECRET_KEY comes from.
type Key struct {
	Variable string `json:"variable,omitempty"` // it is given by this variable
	File     string `json:"file,omitempty"`     // else it is in this file of the container
	Host     string `json:"host,omitempty"`     // which is this one on the host
	Lost     bool   `json:"lost,omitempty"`     // it goes with the container
	Fetch    string `json:"fetch,omitempty"`    // the command that copies it here
}

// Key finds the key: a variable, else the file that start.sh reads and makes.
func (a App) Key() Key {
	for _, name := range []string{"WEBUI_SECRET_KEY", "WEBUI_JWT_SECRET_KEY"} {
		if a.Vars[name] != "" {
			return Key{Variable: name}
		}
	}
	k := Key{File: cmp.Or(a.Vars["WEBUI_SECRET_KEY_FILE"].Reveal(), ".webui_secret_key")}
	if !path.IsAbs(k.File) {
		k.File = path.Join(a.WorkDir, k.File)
	}
	_, host, mounted := a.At(k.File)
	k.Host, k.Lost = host, !mounted
	k.Fetch = a.copyFile(k.File, KeyFile)
	return k
}

// FetchData is the command that copies DATA_DIR out of a container that keeps it
// in its own layer.
func (a App) FetchData(to string) string { return a.copyDir(a.DataDir(), to) }

// Lines are the lines of an env file, sorted, DATA_DIR always among them.
// unequal names the variables that docker --env-file would read differently,
// unfit those that no env file can hold.
func (a App) Lines() (lines, unequal, unfit []string) {
	vars := map[string]env.Secret{"DATA_DIR": env.Secret(a.DataDir())}
	for name, v := range a.Vars {
		if name != "DATA_DIR" {
			vars[name] = v
		}
	}
	for _, name := range sortedKeys(vars) {
		line, plain, err := env.Assign(name, vars[name].Reveal())
		if err != nil {
			unfit = append(unfit, name)
			continue
		}
		if !plain {
			unequal = append(unequal, name)
		}
		lines = append(lines, line)
	}
	return lines, unequal, unfit
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// decode reads JSON without repeating any of it in the error.
func decode(text []byte, into any) error {
	err := json.Unmarshal(text, into)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		return fmt.Errorf("it is not JSON at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("%s is not what it should be at byte %d", kind.Field, kind.Offset)
	}
	return errors.New("it is not the JSON that it should be")
}
