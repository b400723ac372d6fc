package envform_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"outgrow/mappings/doctor"
	"outgrow/mappings/env"
	"outgrow/mappings/envform"
)

const image = "registry.internal:5000/owui/open-webui:0.12.4"

// variables have every kind of value that a form might read otherwise.
func variables() map[string]env.Secret {
	return map[string]env.Secret{
		"VECTOR_DB": "pgvector", "UVICORN_WORKERS": "1", "RAG_EMBEDDING_MODEL": "yes", "WEBUI_NAME": "a $b ${c} $$ $(VECTOR_DB) {{ .Values.x }} #d 'e' \"f\" \\", "CORS_ALLOW_ORIGIN": "https://a;https://b\nline",
		"DATABASE_URL": "postgresql://u:p@h/d", "OPENAI_API_KEY": "", "REDIS_URL": "redis://r/0", "S3_SECRET_ACCESS_KEY": " a$b ${c} {{x}}\ttab\n", "ANY_OTHER": "0x1", "ENABLE_DB_MIGRATIONS": "false", "DATA_DIR": "/app/backend/data",
	}
}

func options(replicas int, secrets bool) envform.Options {
	return envform.Options{Vars: variables(), DataDir: "/app/backend/data", Name: "owui", Claim: "owui-data", Image: image, Replicas: replicas, WithSecrets: secrets}
}

func form(t *testing.T, name string, o envform.Options) envform.Result {
	t.Helper()
	r, err := envform.Write(name, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// want gives the variables with ENABLE_DB_MIGRATIONS of an instance.
func want(migrate string) map[string]string {
	out := map[string]string{}
	for k, v := range variables() {
		out[k] = v.Reveal()
	}
	out["ENABLE_DB_MIGRATIONS"] = migrate
	return out
}

// same compares variables, and tells which differ without what they hold.
func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("%s:\n%q\nwant\n%q", what, got, want)
	}
}

func TestDotenv(t *testing.T) {
	t.Parallel()
	for replicas, migrate := range map[int]string{1: "", 3: "false"} {
		path := filepath.Join(t.TempDir(), "a.env")
		if err := os.WriteFile(path, []byte(form(t, envform.Dotenv, options(replicas, true)).Text), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := env.Load("to", path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		got, w := map[string]string{}, want(migrate)
		for k, v := range d.Vars {
			got[k] = v.Reveal()
		}
		if migrate == "" {
			delete(w, "ENABLE_DB_MIGRATIONS")
		}
		same(t, "dotenv", got, w)
	}
}

// project reads an override on top of a file by Compose's own parser.
func project(t *testing.T, override string, known map[string]string) *types.Project {
	t.Helper()
	const base = "services: {owui: {image: old, container_name: owui, ports: ['3000:8080'], environment: {KEPT: '1'}, volumes: ['old:/app/backend/data']}}\nvolumes: {old: {}}"
	p, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{WorkingDir: t.TempDir(), Environment: known,
		ConfigFiles: []types.ConfigFile{{Filename: "base.yml", Content: []byte(base)}, {Filename: "scaled.yml", Content: []byte(override)}}},
		func(o *loader.Options) { o.SetProjectName("test", true) })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func environment(s types.ServiceConfig) map[string]string {
	out := map[string]string{}
	for k, v := range s.Environment {
		if v != nil {
			out[k] = *v
		}
	}
	return out
}

func TestCompose(t *testing.T) {
	t.Parallel()
	for _, secrets := range []bool{true, false} {
		known := map[string]string{envform.HostData: "/srv/data"}
		if !secrets {
			for k, v := range variables() {
				known[k] = v.Reveal() // as .env gives them
			}
		}
		p := project(t, form(t, envform.Compose, options(3, secrets)).Text, known)
		primary, replica := p.Services["owui"], p.Services["owui-replica"]
		w := want("true")
		w["KEPT"] = "1"
		same(t, "primary", environment(primary), w)
		same(t, "replica", environment(replica), want("false"))
		if primary.Image != image || replica.Image != image || replica.Deploy == nil || *replica.Deploy.Replicas != 2 || replica.DependsOn["owui"].Condition != "service_healthy" {
			t.Errorf("%+v", replica)
		}
		for _, s := range []types.ServiceConfig{primary, replica} {
			if len(s.Volumes) != 1 || s.Volumes[0].Source != "/srv/data" || s.Volumes[0].Target != "/app/backend/data" {
				t.Errorf("volumes of %s: %+v", s.Name, s.Volumes)
			}
		}
	}
	if p := project(t, form(t, envform.Compose, options(1, true)).Text, map[string]string{envform.HostData: "/srv/data"}); len(p.Services) != 1 {
		t.Errorf("one instance: %v", p.ServiceNames())
	}
}

// objects reads the documents into the types of the Kubernetes API; a field that
// those do not have is an error.
func objects(t *testing.T, text string) (config corev1.ConfigMap, secret corev1.Secret, deployments []appsv1.Deployment) {
	t.Helper()
	for _, doc := range strings.Split(text, "\n---\n") {
		var kind struct{ Kind string }
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
			t.Fatal(err)
		}
		var err error
		switch kind.Kind {
		case "ConfigMap":
			err = yaml.UnmarshalStrict([]byte(doc), &config)
		case "Secret":
			err = yaml.UnmarshalStrict([]byte(doc), &secret)
		case "Deployment":
			var d appsv1.Deployment
			err = yaml.UnmarshalStrict([]byte(doc), &d)
			deployments = append(deployments, d)
		default:
			t.Errorf("a document of kind %q", kind.Kind)
		}
		if err != nil {
			t.Fatalf("%s: %v", kind.Kind, err)
		}
	}
	return config, secret, deployments
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	config, secret, deployments := objects(t, form(t, envform.Kubernetes, options(3, true)).Text)
	if len(deployments) != 2 {
		t.Fatalf("%d deployments", len(deployments))
	}
	for i, c := range []struct {
		name, migrate string
		replicas      int32
	}{{"owui-primary", "true", 1}, {"owui", "false", 2}} {
		d := deployments[i]
		con := d.Spec.Template.Spec.Containers[0]
		got := map[string]string{}
		maps.Copy(got, config.Data)
		for _, e := range con.Env {
			if e.ValueFrom == nil {
				got[e.Name] = e.Value
			} else if ref := e.ValueFrom.SecretKeyRef; ref.Name == secret.Name {
				got[e.Name] = secret.StringData[ref.Key]
			}
		}
		same(t, c.name, got, want(c.migrate))
		if d.Name != c.name || *d.Spec.Replicas != c.replicas || con.Image != image || con.EnvFrom[0].ConfigMapRef.Name != config.Name || d.Spec.Template.Labels["app"] != "owui" ||
			!maps.Equal(d.Spec.Selector.MatchLabels, d.Spec.Template.Labels) || d.Spec.Template.Spec.Volumes[0].PersistentVolumeClaim.ClaimName != "owui-data" || con.VolumeMounts[0].MountPath != "/app/backend/data" {
			t.Errorf("%+v", d)
		}
	}
	if maps.Equal(deployments[0].Spec.Selector.MatchLabels, deployments[1].Spec.Selector.MatchLabels) {
		t.Error("both deployments select the same pods")
	}
	r := form(t, envform.Kubernetes, options(1, false))
	_, secret, deployments = objects(t, r.Text)
	if len(deployments) != 1 || secret.Name != "" || !slices.Equal(r.Secrets, []string{"ANY_OTHER", "DATABASE_URL", "REDIS_URL", "S3_SECRET_ACCESS_KEY"}) {
		t.Errorf("%d deployments, secret %q, references %v", len(deployments), secret.Name, r.Secrets)
	}
}

func TestHelm(t *testing.T) {
	t.Parallel()
	o := options(2, true)
	o.Vars["STORAGE_PROVIDER"], o.Vars["OPENAI_API_KEY"] = "s3", "k"
	r := form(t, envform.Helm, o)
	var v struct {
		Image        struct{ Repository, Tag string }
		ReplicaCount int
		Websocket    struct {
			Enabled                                    bool
			Manager, ExistingSecret, ExistingSecretKey string
			Redis                                      struct{ Enabled bool }
		}
		Persistence struct {
			Enabled                 bool
			Provider, ExistingClaim string
			AccessModes             []string
			Annotations             map[string]string
		}
		ExtraEnvVars   map[string]any
		ExtraResources []corev1.Secret
	}
	if err := yaml.UnmarshalStrict([]byte(r.Text), &v); err != nil {
		t.Fatal(err)
	}
	if v.Image.Repository+":"+v.Image.Tag != image || v.ReplicaCount != 2 || !v.Websocket.Enabled || v.Websocket.Manager != "redis" || v.Websocket.ExistingSecretKey != "REDIS_URL" || v.Websocket.Redis.Enabled {
		t.Errorf("%+v", v)
	}
	// The two that keep the data volume.
	if v.Persistence.Provider != "local" || v.Persistence.ExistingClaim != "owui-data" || v.Persistence.Annotations["helm.sh/resource-policy"] != "keep" || v.ExtraEnvVars["STORAGE_PROVIDER"] != "s3" {
		t.Errorf("%+v", v.Persistence)
	}
	if v.ExtraEnvVars["ENABLE_DB_MIGRATIONS"] != "false" || v.ExtraEnvVars["REDIS_URL"] != nil || v.ExtraEnvVars["OPENAI_API_KEY"] != nil || !strings.Contains(strings.Join(r.Notes, ";"), "OPENAI_API_KEY") {
		t.Errorf("%v, %v", v.ExtraEnvVars, r.Notes)
	}
	if name, _ := v.ExtraEnvVars["WEBUI_NAME"].(string); !strings.Contains(name, `{{ "{{" }} .Values.x }}`) || !strings.Contains(name, "$$(VECTOR_DB)") {
		t.Errorf("not kept from Helm and Kubernetes: %q", name)
	}
	if len(v.ExtraResources) != 1 || v.ExtraResources[0].Name != "owui-secrets" || v.ExtraResources[0].StringData["DATABASE_URL"] != "postgresql://u:p@h/d" || v.ExtraResources[0].StringData["REDIS_URL"] == "" {
		t.Errorf("%+v", v.ExtraResources)
	}
	if text := form(t, envform.Helm, options(2, false)).Text; strings.Contains(text, "extraResources") {
		t.Error("a Secret without --with-secrets")
	}
}

func TestUnfit(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]env.Secret{"A B": "x", "A": "M4rked\x00"} {
		o := options(1, true)
		o.Vars[name] = value
		for _, f := range []string{envform.Dotenv, envform.Compose, envform.Kubernetes, envform.Helm} {
			if _, err := envform.Write(f, o); err == nil || strings.Contains(err.Error(), "M4rked") {
				t.Errorf("%s: %q: %v", f, name, err)
			}
		}
	}
}

// The file to begin with has no mistake, and leaves open what only its owner
// knows: the addresses, the key, and where people reach it.
func TestStart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "scaled.env")
	if err := os.WriteFile(path, []byte(envform.Start()), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := env.Load("to", path, t.TempDir(), nil)
	if err != nil || len(d.Warnings) > 0 {
		t.Fatalf("%v, %v", err, d.Warnings)
	}
	var ids []string
	for _, x := range doctor.Run(doctor.Facts{Deployment: d, Replicas: 2, Primary: true}).Findings {
		if x.Severity == doctor.Must {
			ids = append(ids, x.ID)
		}
	}
	if !slices.Equal(ids, []string{"D56", "D10", "D14"}) {
		t.Errorf("must be fixed: %v", ids)
	}
}
