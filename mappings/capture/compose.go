package capture

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

const composeHint = "say docker compose config -q in that folder, which tells more; a file that needs others beside it must be read where it lies"

// compose reads a compose file by the Compose project's own parser.
func compose(in Input) (App, error) {
	dir := in.Dir
	if dir == "" {
		dir = "."
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return App{}, err
	}
	known, err := surroundings(dir, in.Environ)
	if err != nil {
		return App{}, unreadable(err)
	}
	var unset []string
	details := types.ConfigDetails{WorkingDir: dir, Environment: known, ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "compose.yaml"), Content: in.Text}}}
	project, err := loader.LoadWithContext(context.Background(), details, func(o *loader.Options) {
		o.SetProjectName(loader.NormalizeProjectName(filepath.Base(dir)), false)
		o.Profiles = []string{"*"}
		o.SkipResolveEnvironment = true // the env_file of another service is of no interest
		o.SkipConsistencyCheck = true
		o.Interpolate.Substitute = func(text string, known template.Mapping) (string, error) {
			return template.SubstituteWithOptions(text, known, template.WithoutLogging, template.WithReplacementFunction(
				func(part string, known template.Mapping, c *template.Config) (string, error) {
					v, found, err := template.DefaultReplacementAppliedFunc(part, known, c)
					if name := variable.FindString(part); err == nil && !found && name != "" && !slices.Contains(unset, name) {
						unset = append(unset, name)
					}
					return v, err
				}))
		}
	})
	if err != nil {
		return App{}, unreadable(err)
	}
	var apps []App
	for name, s := range project.Services {
		vars := map[string]env.Secret{}
		for k := range s.Environment {
			vars[k] = "" // by its name alone
		}
		apps = append(apps, App{Name: name, Image: s.Image, likely: looks(s.Image, vars)})
	}
	a, err := pick(apps, in.Name, "service")
	if err != nil {
		return App{}, err
	}
	if project, err = project.WithSelectedServices([]string{a.Name}, types.IgnoreDependencies); err == nil {
		project, err = project.WithServicesEnvironmentResolved(false)
	}
	if err != nil {
		return App{}, unreadable(err)
	}
	return service(project, a.Name, unset).settle()
}

// surroundings is what ${NAME} is looked up in: the environment before .env.
func surroundings(dir string, environ []string) (types.Mapping, error) {
	known := types.Mapping{}
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

func service(p *types.Project, name string, unset []string) App {
	s := p.Services[name]
	a := App{From: "compose", Name: name, Image: s.Image, User: s.User, WorkDir: s.WorkingDir, Vars: map[string]env.Secret{}, Stop: "docker compose stop " + name}
	if a.WorkDir == "" {
		a.WorkDir = workDir
	}
	if a.Image == "" && s.Build != nil {
		a.Notes = append(a.Notes, "the image is built from "+s.Build.Context)
	}
	for k, v := range s.Environment {
		if v != nil {
			a.Vars[k] = env.Secret(*v)
		} else {
			a.Notes = append(a.Notes, k+" is taken from the shell that starts compose, and was not set here: it is left out")
		}
	}
	slices.Sort(unset)
	if len(unset) > 0 {
		a.Notes = append(a.Notes, "not set here, so taken as empty, as compose would: "+strings.Join(unset, ", "))
	}
	if s.Restart != "" && s.Restart != types.RestartPolicyNo {
		a.Restart = s.Restart
	}
	if s.Scale != nil && *s.Scale > 1 || s.Deploy != nil && s.Deploy.Replicas != nil && *s.Deploy.Replicas > 1 {
		a.Notes = append(a.Notes, "several replicas: all of them must be stopped")
	}
	for _, v := range s.Volumes {
		m := Mount{Path: v.Target, Kind: v.Type, ReadOnly: v.ReadOnly}
		switch v.Type {
		case types.VolumeTypeBind:
			m.Host = v.Source
		case types.VolumeTypeVolume:
			sub := ""
			if v.Volume != nil && v.Volume.Subpath != "" {
				sub = "/" + strings.Trim(v.Volume.Subpath, "/")
			}
			m.volume(p, v.Source, sub)
		case types.VolumeTypeTmpfs:
			m.Note = "in memory: it goes when the container stops"
		}
		a.Mounts = append(a.Mounts, m)
	}
	slices.SortFunc(a.Mounts, func(x, y Mount) int { return strings.Compare(x.Path, y.Path) })
	cp := "docker compose cp " + name + ":"
	a.copyFile = func(from, to string) string { return cp + from + " " + to }
	a.copyDir = a.copyFile
	return a
}

// volume tells where a named volume lies: by its options, else Docker knows.
func (m *Mount) volume(p *types.Project, source, sub string) {
	if source == "" {
		m.Note = "a volume without a name: docker inspect of the container tells which"
		return
	}
	v, ok := p.Volumes[source]
	m.Name = v.Name
	if !ok || m.Name == "" {
		m.Name = p.Name + "_" + source
	}
	device, options := v.DriverOpts["device"], strings.Split(v.DriverOpts["o"], ",")
	switch {
	case strings.HasPrefix(v.DriverOpts["type"], "nfs"):
		server := ""
		for _, o := range options {
			if addr, ok := strings.CutPrefix(o, "addr="); ok {
				server = addr
			}
		}
		m.Kind, m.Name = "nfs", server+":"+strings.TrimPrefix(device, ":")+sub
		m.Note = "mount it here, or run outgrow where it is mounted"
	case slices.Contains(options, "bind") && device != "":
		m.Host = device + sub
	default:
		m.Note = "docker volume inspect -f '{{.Mountpoint}}' " + m.Name + " tells where it lies"
		if sub != "" {
			m.Note += ", and " + sub[1:] + " below that is mounted"
		}
	}
}
