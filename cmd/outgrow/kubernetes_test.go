package main

import (
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// manifest is docs/kubernetes/job.yaml.
type manifest struct {
	claim  corev1.PersistentVolumeClaim
	config corev1.ConfigMap
	job    batchv1.Job
}

// readManifest reads the objects into the types of the Kubernetes API; a field that
// those do not have is an error.
func readManifest(tb testing.TB, text string) (m manifest) {
	tb.Helper()
	into := map[string]any{"PersistentVolumeClaim": &m.claim, "ConfigMap": &m.config, "Job": &m.job}
	for _, doc := range strings.Split(text, "\n---\n") {
		var kind struct{ Kind string }
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
			tb.Fatal(err)
		}
		if into[kind.Kind] == nil {
			tb.Fatalf("a second object, or one of kind %q", kind.Kind)
		}
		if err := yaml.UnmarshalStrict([]byte(doc), into[kind.Kind]); err != nil {
			tb.Fatalf("%s: %v", kind.Kind, err)
		}
		delete(into, kind.Kind)
	}
	if len(into) > 0 {
		tb.Fatalf("it lacks %v", into)
	}
	return m
}

func manifestText(tb testing.TB) string {
	tb.Helper()
	text, err := os.ReadFile("../../docs/kubernetes/job.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// mounted gives the mount that a path lies below.
func (m manifest) mounted(tb testing.TB, at string) corev1.VolumeMount {
	tb.Helper()
	for _, v := range m.job.Spec.Template.Spec.Containers[0].VolumeMounts {
		if at == v.MountPath || strings.HasPrefix(at, v.MountPath+"/") {
			return v
		}
	}
	tb.Fatalf("nothing is mounted at %s", at)
	return corev1.VolumeMount{}
}

// flagsOf reads --name=value.
func flagsOf(args []string) map[string]string {
	out := map[string]string{}
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		out[name] = value
	}
	return out
}

// The Job cannot write to the old data, whatever happens to it, and asks for no
// more rights than reading them needs.
func TestJobReadsOnly(t *testing.T) {
	t.Parallel()
	m := readManifest(t, manifestText(t))
	pod := m.job.Spec.Template.Spec
	if len(pod.Containers) != 1 || len(pod.InitContainers) != 0 {
		t.Fatalf("%d containers", len(pod.Containers))
	}
	c := pod.Containers[0]
	flags := flagsOf(c.Args)
	data, config, state := m.mounted(t, flags["--from"]), m.mounted(t, flags["--to"]), m.mounted(t, flags["--state"])
	if !data.ReadOnly || data.MountPath != env.DockerDataDir || !config.ReadOnly || state.ReadOnly {
		t.Errorf("%+v", c.VolumeMounts)
	}
	for _, v := range pod.Volumes {
		switch claim := v.PersistentVolumeClaim; v.Name {
		case data.Name:
			if claim == nil || claim.ReadOnly {
				t.Errorf("%+v: some drivers refuse a claim that is mounted both ways", v)
			}
		case config.Name:
			if v.ConfigMap == nil || v.ConfigMap.Name != m.config.Name || m.config.Data[path.Base(flags["--to"])] == "" {
				t.Errorf("%+v leads to no env file", v)
			}
		case state.Name:
			if claim == nil || claim.ClaimName != m.claim.Name {
				t.Errorf("%+v is not the claim of the state", v)
			}
		default:
			t.Errorf("the volume %s is mounted nowhere", v.Name)
		}
	}
	// fsGroup would give the files of the old volume another group.
	if s := pod.SecurityContext; s == nil || s.FSGroup != nil || s.RunAsUser == nil {
		t.Errorf("%+v", s)
	}
	if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
		s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
		t.Errorf("%+v", s)
	}
	if a := pod.Affinity; a == nil || a.PodAffinity == nil || len(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution) > 0 || a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution[0].PodAffinityTerm.TopologyKey != corev1.LabelHostname {
		t.Errorf("%+v", a)
	}
}

// A pod is tried again when that may help, and never beside another one.
func TestJobTriesAgain(t *testing.T) {
	t.Parallel()
	job := readManifest(t, manifestText(t)).job
	p := job.Spec.PodFailurePolicy
	if job.Spec.Template.Spec.RestartPolicy != corev1.RestartPolicyNever || p == nil || job.Spec.PodReplacementPolicy == nil || *job.Spec.PodReplacementPolicy != batchv1.Failed {
		t.Fatalf("%+v", job.Spec)
	}
	rule := p.Rules[0]
	if rule.Action != batchv1.PodFailurePolicyActionFailJob || *rule.OnExitCodes.ContainerName != job.Spec.Template.Spec.Containers[0].Name ||
		!slices.Equal(rule.OnExitCodes.Values, []int32{pipeline.ExitUsage, pipeline.ExitDiffers}) {
		t.Errorf("%+v", rule)
	}
}

// All four commands that the page makes of the manifest are ones that the parser
// takes, and differ in name.
func TestJobCommands(t *testing.T) {
	t.Parallel()
	text := manifestText(t)
	for _, command := range []string{"plan", "migrate", "sync", "verify"} {
		m := readManifest(t, strings.ReplaceAll(text, "migrate", command))
		parser, err := newParser(&CLI{}, io.Discard, io.Discard, func(int) {})
		if err != nil {
			t.Fatal(err)
		}
		args := m.job.Spec.Template.Spec.Containers[0].Args
		if ctx, err := parser.Parse(args); err != nil || ctx.Command() != command {
			t.Errorf("%v: %v", args, err)
		}
		if m.job.Name != "outgrow-"+command {
			t.Errorf("%s is called %s", command, m.job.Name)
		}
	}
}

// What `outgrow env` writes for the new deployment is what the Job reads as the
// target: all of it, by the names that stand in the manifest.
func TestJobEnvironment(t *testing.T) {
	t.Parallel()
	lines := "DATABASE_URL=postgresql://u:s3cretpw@pg.internal/x\nVECTOR_DB=pgvector\nDATA_DIR=/app/backend/data\nWEBUI_SECRET_KEY=k\n"
	file := filepath.Join(t.TempDir(), "scaled.env")
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, notes := envOn(t, lines, "--format", "kubernetes", "--name", "open-webui", "--claim", "open-webui", "--image", "x:1", "--with-secrets")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, notes)
	}
	given := map[string]map[string]string{}
	for _, doc := range strings.Split(out, "\n---\n") {
		var o struct {
			Kind             string
			Metadata         struct{ Name string }
			Data, StringData map[string]string
			Spec             struct{ Template corev1.PodTemplateSpec }
		}
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatal(err)
		}
		switch o.Kind {
		case "ConfigMap":
			given[o.Metadata.Name] = o.Data
		case "Secret":
			given[o.Metadata.Name] = o.StringData
		}
	}
	m := readManifest(t, manifestText(t))
	c := m.job.Spec.Template.Spec.Containers[0]
	var environ []string
	for _, from := range c.EnvFrom {
		name := ""
		if from.ConfigMapRef != nil {
			name = from.ConfigMapRef.Name
		} else if from.SecretRef != nil {
			name = from.SecretRef.Name
		}
		if given[name] == nil {
			t.Errorf("env writes no %q: %v", name, given)
		}
		for k, v := range given[name] {
			environ = append(environ, from.Prefix+k+"="+v)
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil && given[e.ValueFrom.SecretKeyRef.Name][e.ValueFrom.SecretKeyRef.Key] == "" {
			t.Errorf("%s refers to what env does not write", e.Name)
		}
	}
	config := filepath.Join(t.TempDir(), path.Base(flagsOf(c.Args)["--to"]))
	if err := os.WriteFile(config, []byte(m.config.Data[path.Base(config)]), 0o600); err != nil {
		t.Fatal(err)
	}
	want, err := env.Load("to", file, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := env.Load("to", config, "", environ)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range want.Vars {
		if got.Vars[name].Reveal() != value.Reveal() {
			t.Errorf("%s does not reach the Job", name)
		}
	}
	if got.Database.Kind != env.Postgres || got.Vector.Kind != "pgvector" || got.DataDir != env.DockerDataDir {
		t.Errorf("%+v", got.DataDir)
	}
}
