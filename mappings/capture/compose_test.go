package capture_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"outgrow/mappings/capture"
	"outgrow/pipeline"
)

// byCompose reads a file by the Compose project's own loader, which is what a
// service really is started with.
func byCompose(t *testing.T, dir, text, service string, environ map[string]string) (*types.Project, types.ServiceConfig, error) {
	t.Helper()
	details := types.ConfigDetails{WorkingDir: dir, Environment: maps.Clone(environ), ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "compose.yaml"), Content: []byte(text)}}}
	project, err := loader.LoadWithContext(t.Context(), details, func(o *loader.Options) {
		o.SetProjectName(loader.NormalizeProjectName(filepath.Base(dir)), false)
		o.Profiles = []string{"*"}
		o.SkipResolveEnvironment, o.SkipConsistencyCheck = true, true
	})
	if err == nil {
		if project, err = project.WithSelectedServices([]string{service}, types.IgnoreDependencies); err == nil {
			project, err = project.WithServicesEnvironmentResolved(false)
		}
	}
	if err != nil {
		return nil, types.ServiceConfig{}, err
	}
	return project, project.Services[service], nil
}

// What is read of a compose file is what Compose itself reads.
func TestComposeAsCompose(t *testing.T) {
	t.Parallel()
	environ := map[string]string{"SHELL_VAR": "from shell", "BOTH": "shell", "EMPTY": "", "TAG": "0.12.4", "N": "3", "RO": "true"}
	beside := map[string]string{"a.env": "ONE=1\nBOTH_FILES=a\nQUOTED=\"a b\"\nSINGLE='$x'\nREF=${TAG}-${OWN}\nLIST_NULL=file\nMAP_NULL=file\n# comment\nexport E=1\n", "b.env": "BOTH_FILES=b\nTWO=2\n"}
	service := func(lines string) string {
		return "services:\n  app:\n    image: ghcr.io/open-webui/open-webui:main\n    " + strings.ReplaceAll(strings.TrimSpace(lines), "\n", "\n    ") + "\n"
	}
	for name, text := range map[string]string{
		"scalars":           service("environment:\n  I: 8080\n  F: 1.50\n  E: 1e3\n  HEX: 0x1F\n  OCT: 0o17\n  OLD: 017\n  T: true\n  U: True\n  Y: yes\n  OFF: off\n  NULL_: null\n  TILDE: ~\n  NOTHING:\n  EMPTY_: ''\n  BIG: 12345678901234567890\n  NEG: -1\n  S: \"1\"\n  TEXT: |\n    two\n    lines\n  FOLD: >-\n    a\n    b"),
		"dates":             service("environment:\n  D: 2024-01-02\n  V: 1_000\n  CLOCK: 12:30\n  SEXA: 1:30"),
		"a list":            service("environment:\n  - A=1\n  - B=\n  - C=a=b\n  - SHELL_VAR\n  - LIST_NULL\n  - Q=\"x\"\n  - 'SP=a b'"),
		"a map from beside": service("environment:\n  SHELL_VAR:\n  MAP_NULL:\n  OWN: own\nenv_file: a.env"),
		"replaced":          service("environment:\n  A: $TAG\n  B: ${TAG}\n  C: ${GONE:-d}\n  D: ${EMPTY:-d}\n  E: ${EMPTY-d}\n  F: ${TAG:+yes}\n  G: $$TAG\n  H: ${GONE}\n  I: ${GONE:-${TAG}}\n  J: a${N}b\n  K: ${COMPOSE_PROJECT_NAME}"),
		"env files":         service("environment:\n  OWN: own\n  BOTH: map\nenv_file:\n  - a.env\n  - path: b.env\n  - path: gone.env\n    required: false"),
		"env file alone":    service("env_file: b.env"),
		"env file list":     service("env_file: [b.env, a.env]"),
		"anchors":           "x-env: &env\n  A: 1\n  B: two\n" + service("environment:\n  <<: *env\n  B: three\nuser: \"1000:1000\"\nworking_dir: /srv"),
		"short volumes":     service("volumes:\n  - data:/app/backend/data\n  - ./here:/here:ro\n  - ../up:/up/:rw,z\n  - /abs/olute:/abs\n  - ~/home:/home/x\n  - /anonymous\n  - .:/dot\n  - data2:/app/backend/data/inner:ro,Z\n  - 'C:\\x:/win'\n  - ${TAG}dir:/tag\n  - ./again:/here") + "volumes:\n  data:\n  data2:\n    name: own-name\n  0.12.4dir:\n",
		"long volumes":      service("volumes:\n  - type: bind\n    source: ./x\n    target: /x\n    read_only: true\n  - type: volume\n    source: ext\n    target: /e\n    volume:\n      subpath: sub\n  - type: tmpfs\n    target: /t\n  - type: bind\n    source: /y\n    target: /y\n    read_only: ${RO}\n  - {type: volume, target: /anon}") + "volumes:\n  ext:\n    external: true\n",
		"external by name":  service("volumes: [a:/a, b:/b, c:/c]") + "volumes:\n  a:\n    external:\n      name: old-way\n  b: {external: true, name: new-way}\n  c: {external: false}\n",
		"a project's name":  "name: My ${TAG} Pro_ject\n" + service("volumes: [data:/data]\nenvironment: {P: '${COMPOSE_PROJECT_NAME}'}") + "volumes: {data: }\n",
		"restart":           service("restart: unless-stopped\nscale: 2"),
		"restart no":        service("restart: no\ndeploy: {replicas: 1}"),
		"replicas":          service("deploy: {replicas: \"${N}\"}"),
		"others":            service("depends_on: [db]") + "  db:\n    image: postgres\n    ports: [\"5432:5432\"]\n    environment: {POSTGRES_PASSWORD: x}\n    env_file: gone.env\nnetworks: {default: {}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "My Stack")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			for file, body := range beside {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(body), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			project, want, err := byCompose(t, dir, text, "app", environ)
			if err != nil {
				t.Fatalf("Compose itself refuses it: %v", err)
			}
			var list []string
			for k, v := range environ {
				list = append(list, k+"="+v)
			}
			got, err := capture.Read(capture.Input{Text: []byte(text), Dir: dir, Name: "app", Environ: list})
			if err != nil {
				t.Fatal(err)
			}
			vars, wanted := map[string]string{}, map[string]string{}
			for k, v := range got.Vars {
				vars[k] = v.Reveal()
			}
			for k, v := range want.Environment {
				if v != nil {
					wanted[k] = *v
				} else if !slices.ContainsFunc(got.Notes, func(n string) bool { return strings.HasPrefix(n, k+" is taken from the shell") }) {
					t.Errorf("nothing is said of %s, which the shell does not set: %q", k, got.Notes)
				}
			}
			if !maps.Equal(vars, wanted) {
				t.Errorf("variables\n%q, want\n%q", vars, wanted)
			}
			restart := want.Restart
			if restart == types.RestartPolicyNo {
				restart = ""
			}
			if got.Image != want.Image || got.User != want.User || want.WorkingDir != "" && got.WorkDir != want.WorkingDir || got.Restart != restart {
				t.Errorf("%+v, want %+v", got, want)
			}
			several := want.Scale != nil && *want.Scale > 1 || want.Deploy != nil && want.Deploy.Replicas != nil && *want.Deploy.Replicas > 1
			if said := slices.ContainsFunc(got.Notes, func(n string) bool { return strings.HasPrefix(n, "several replicas") }); said != several {
				t.Errorf("several replicas: %v, want %v", said, several)
			}
			if len(got.Mounts) != len(want.Volumes) {
				t.Fatalf("mounts %+v, want %+v", got.Mounts, want.Volumes)
			}
			for _, v := range want.Volumes {
				i := slices.IndexFunc(got.Mounts, func(m capture.Mount) bool { return m.Path == v.Target })
				if i < 0 {
					t.Errorf("nothing is mounted at %s: %+v", v.Target, got.Mounts)
					continue
				}
				host, named := "", ""
				if v.Type == types.VolumeTypeBind {
					host = v.Source
				} else if v.Source != "" {
					named = project.Volumes[v.Source].Name
				}
				if m := got.Mounts[i]; m.Kind != v.Type || m.Host != host || m.Name != named || m.ReadOnly != v.ReadOnly {
					t.Errorf("mounted is %+v, want %+v, %q, %q", m, v, host, named)
				}
			}
		})
	}
}

// The loader is only for this test: linked into the program, it would compile JSON
// schemas at the start of every command.
func TestNoLoader(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "outgrow/mappings/capture").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"compose-go/v2/loader", "santhosh-tekuri/jsonschema"} {
		if strings.Contains(string(out), name) {
			t.Errorf("%s is linked", name)
		}
	}
}

// A file that takes from others is not guessed at: Compose joins them.
func TestComposeNotWhole(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"include: [other.yaml]\nservices: {a: {image: open-webui}}",
		"services: {a: {image: open-webui, extends: {service: b}}, b: {image: x}}",
		"services: {a: {image: open-webui}}\n---\nservices: {a: {user: x}}\n",
		"services: {a: {image: open-webui, environment: !reset null}}",
		"services: {a: {image: open-webui, environment: !override {A: 1}}}",
	} {
		_, err := read(t, text, "a", nil)
		if err == nil || pipeline.ExitCode(err) != pipeline.ExitUsage || !strings.Contains(pipeline.HintOf(err), "docker compose config") {
			t.Errorf("%q: %v, hint %q", text, err, pipeline.HintOf(err))
		}
	}
	// One that only another service needs is of no interest.
	if a, err := read(t, "services: {a: {image: open-webui}, b: {image: x, extends: {file: y.yaml, service: b}}}", "", nil); err != nil || a.Name != "a" {
		t.Errorf("%+v, %v", a, err)
	}
}

// What is wrong is named by where it stands, never by what stands there.
func TestComposeMisshapen(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"services: [s3cret]", "services: {a: s3cret}", "services: {a: {image: [s3cret]}}", "services: {a: {environment: s3cret}}", "services: {a: {environment: {K: [s3cret]}}}",
		"services: {a: {environment: [{s3cret: 1}]}}", "services: {a: {environment: {1: s3cret}}}", "services: {a: {env_file: {s3cret: 1}}}", "services: {a: {volumes: [[s3cret]]}}",
		"services: {a: {volumes: ['s3cret:/a:/b:/c']}}", "services: {a: {volumes: ['s3cret::ro']}}", "services: {a: {volumes: ['vol:/a']}}\nvolumes: {vol: s3cret}",
		"services: {a: {user: {x: s3cret}}}", "services:\n  a:\n    environment:\n      A: 's3cret\n", "services: {a: {environment: {A: s3cret, A: s3cret}}}",
	} {
		_, err := read(t, text, "a", nil)
		if err == nil || pipeline.ExitCode(err) != pipeline.ExitUsage || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
