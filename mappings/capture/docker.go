package capture

import (
	"fmt"
	"strings"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// container is what ContainerInspect tells, as far as it is of use. Podman's
// inspect has the same fields, and the image's name beside them.
type container struct {
	Name      string
	ImageName string
	Config    *struct {
		Image, User, WorkingDir string
		Env                     []string
		Labels                  map[string]string
	}
	HostConfig struct {
		RestartPolicy struct{ Name string }
		AutoRemove    bool
	}
	Mounts []struct {
		Type, Name, Source, Destination, Driver string
		RW                                      *bool
	}
	Spec map[string]any // of a swarm service, which is told by name
}

func docker(text []byte, name string) (App, error) {
	if text[0] == '{' {
		text = append(append([]byte("["), text...), ']')
	}
	var all []container
	if err := decode(text, &all); err != nil {
		return App{}, pipeline.Usage("reading docker's output", err, "save it again: docker inspect NAME > inspect.json")
	}
	var apps []App
	for _, c := range all {
		switch {
		case c.Config != nil:
			apps = append(apps, c.app())
		case c.Spec != nil:
			return App{}, pipeline.Usage("reading docker's output", fmt.Errorf("it describes a swarm service"), "inspect one of its containers: docker inspect $(docker ps -q --filter name=NAME)")
		}
	}
	a, err := pick(apps, name, "container")
	if err != nil {
		return App{}, err
	}
	return a.settle()
}

func (c container) app() App {
	a := App{From: "docker", Name: strings.TrimPrefix(c.Name, "/"), Image: c.Config.Image, Version: c.Config.Labels["org.opencontainers.image.version"],
		User: c.Config.User, WorkDir: c.Config.WorkingDir, Vars: map[string]env.Secret{}}
	if c.ImageName != "" {
		a.Image = c.ImageName
	}
	if a.WorkDir == "" {
		a.WorkDir = workDir
	}
	for _, kv := range c.Config.Env {
		if k, v, ok := strings.Cut(kv, "="); ok {
			a.Vars[k] = env.Secret(v)
		}
	}
	a.likely = looks(a.Image, a.Vars)
	a.Stop = "docker stop " + a.Name
	switch p := c.HostConfig.RestartPolicy.Name; p {
	case "always", "unless-stopped", "on-failure":
		a.Restart = p
		a.Stop = "docker update --restart=no " + a.Name + " && " + a.Stop
	}
	if c.HostConfig.AutoRemove {
		a.Notes = append(a.Notes, "the container was started with --rm: stopping it removes it, with everything in its own layer")
	}
	if project := c.Config.Labels["com.docker.compose.project"]; project != "" {
		a.Notes = append(a.Notes, "compose started it (project "+project+", service "+c.Config.Labels["com.docker.compose.service"]+"): docker compose up brings it back as it was")
	}
	for _, m := range c.Mounts {
		out := Mount{Path: m.Destination, Kind: m.Type, Name: m.Name, Host: m.Source, ReadOnly: m.RW != nil && !*m.RW}
		switch {
		case m.Type == "tmpfs":
			out.Host, out.Note = "", "in memory: it goes when the container stops"
		case m.Type == "volume" && m.Driver != "" && m.Driver != "local":
			out.Note = "made by the driver " + m.Driver + ": what lies there may be reached only through it"
		case m.Type == "volume":
			out.Note = "a volume's folder is root's alone, and inside the virtual machine with Docker Desktop"
		}
		a.Mounts = append(a.Mounts, out)
	}
	cp := "docker cp " + a.Name + ":"
	a.copyFile = func(from, to string) string { return cp + from + " " + to }
	a.copyDir = a.copyFile
	return a
}
