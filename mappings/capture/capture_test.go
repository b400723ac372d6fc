package capture_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/capture"
	"outgrow/pipeline"
)

// read reads an input in a folder with these files beside it.
func read(t *testing.T, text, name string, beside map[string]string) (capture.App, error) {
	t.Helper()
	dir := t.TempDir()
	for file, body := range beside {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return capture.Read(capture.Input{Text: []byte(text), Dir: dir, Name: name, Environ: []string{"FROM_SHELL=s", "BOTH=shell"}})
}

const inspected = `[{"Name":"/owui","Config":{"Image":"ghcr.io/open-webui/open-webui:main","User":"1000:1000","WorkingDir":"/app/backend",
 "Env":["PATH=/usr/bin","HOME=/root","PYTHON_VERSION=3.11","WEBUI_BUILD_VERSION=abc","DOCKER=true","WEBUI_SECRET_KEY=","DATABASE_URL=postgresql://u:p@h/d?a=b","RAG_EMBEDDING_MODEL=x","NO_EQUALS"],
 "Labels":{"org.opencontainers.image.version":"0.12.4"}},"HostConfig":{"RestartPolicy":{"Name":"unless-stopped"}},
 "Mounts":[{"Type":"bind","Source":"/srv/owui","Destination":"/app/backend/data","RW":true},{"Type":"bind","Source":"/big/uploads","Destination":"/app/backend/data/uploads","RW":false}]}]`

func TestDocker(t *testing.T) {
	t.Parallel()
	for _, text := range []string{inspected, strings.Trim(inspected, "[]")} {
		a, err := read(t, text, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		lines, unequal, unfit := a.Lines()
		want := []string{"DATABASE_URL=postgresql://u:p@h/d?a=b", "DATA_DIR=/app/backend/data", "RAG_EMBEDDING_MODEL=x"}
		if !slices.Equal(lines, want) || unequal != nil || unfit != nil {
			t.Errorf("lines %q, %q, %q", lines, unequal, unfit)
		}
		m, host, ok := a.At(a.DataDir())
		if !ok || host != "/srv/owui" || m.Kind != "bind" {
			t.Errorf("data on %+v, %s", m, host)
		}
		if in := a.Inside(a.DataDir()); len(in) != 1 || in[0].Host != "/big/uploads" || !in[0].ReadOnly {
			t.Errorf("inside the data: %+v", in)
		}
		if k := a.Key(); k.File != "/app/backend/.webui_secret_key" || !k.Lost || k.Fetch != "docker cp owui:/app/backend/.webui_secret_key webui_secret_key" {
			t.Errorf("key %+v", k)
		}
		if a.User != "1000:1000" || a.Version != "0.12.4" || a.Restart != "unless-stopped" || a.Stop != "docker update --restart=no owui && docker stop owui" {
			t.Errorf("%+v", a)
		}
	}
}

// The key's file may be moved, and may lie on a mount.
func TestKey(t *testing.T) {
	t.Parallel()
	for vars, want := range map[string]capture.Key{
		`"WEBUI_SECRET_KEY=k"`:                               {Variable: "WEBUI_SECRET_KEY"},
		`"WEBUI_JWT_SECRET_KEY=k"`:                           {Variable: "WEBUI_JWT_SECRET_KEY"},
		`"WEBUI_SECRET_KEY_FILE=data/key"`:                   {File: "/app/backend/data/key", Host: "/srv/owui/key", Fetch: "docker cp c:/app/backend/data/key webui_secret_key"},
		`"WEBUI_SECRET_KEY_FILE=/run/key","DATA_DIR=/owui/"`: {File: "/run/key", Lost: true, Fetch: "docker cp c:/run/key webui_secret_key"},
	} {
		a, err := read(t, `[{"Name":"c","Config":{"Image":"mine","Env":[`+vars+`]},"Mounts":[{"Type":"bind","Source":"/srv/owui/","Destination":"/app/backend/data"}]}]`, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Key(); got != want {
			t.Errorf("%s: %+v, want %+v", vars, got, want)
		}
		if _, host, ok := a.At(a.DataDir()); ok != (a.DataDir() == "/app/backend/data") || ok && host != "/srv/owui" {
			t.Errorf("%s: data %s at %s, %t", vars, a.DataDir(), host, ok)
		}
	}
}

// workloads are a deployment with everything that variables can come from, and
// what it refers to, but for what cut takes away.
func workloads(cut ...string) string {
	b64 := base64.StdEncoding.EncodeToString
	items := map[string]string{
		"deploy": `{"kind":"Deployment","metadata":{"name":"owui","namespace":"chat"},"spec":{"replicas":2,"template":{"spec":{
			"securityContext":{"runAsUser":1000,"fsGroup":2000},
			"containers":[{"name":"app","image":"ghcr.io/open-webui/open-webui:0.12.4","volumeMounts":[{"name":"data","mountPath":"/app/backend/data","subPath":"owui"},{"name":"tmp","mountPath":"/tmp"}],
			"envFrom":[{"configMapRef":{"name":"cm"}},{"prefix":"P_","secretRef":{"name":"sec"}},{"secretRef":{"name":"gone","optional":true}}],
			"env":[{"name":"A","value":"direct"},{"name":"URL","value":"x://$(A)@$$(A)/$(NOBODY)"},{"name":"WEBUI_SECRET_KEY","valueFrom":{"secretKeyRef":{"name":"sec","key":"key"}}},
			{"name":"M","valueFrom":{"configMapKeyRef":{"name":"cm","key":"m"}}},{"name":"NONE","valueFrom":{"secretKeyRef":{"name":"sec","key":"none","optional":true}}},
			{"name":"POD_IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},{"name":"CPUS","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}}]}],
			"volumes":[{"name":"data","persistentVolumeClaim":{"claimName":"owui-data"}},{"name":"tmp","emptyDir":{}}]}}}}`,
		"ollama": `{"kind":"StatefulSet","metadata":{"name":"ollama","namespace":"chat"},"spec":{"template":{"spec":{"containers":[{"name":"o","image":"ollama/ollama"}]}}}}`,
		"cm":     `{"kind":"ConfigMap","metadata":{"name":"cm","namespace":"chat"},"data":{"A":"from the map","B":"b","m":"multi\nline"}}`,
		"sec":    `{"kind":"Secret","metadata":{"name":"sec","namespace":"chat"},"data":{"key":"` + b64([]byte("k€y")) + `","other":"` + b64([]byte("o")) + `"}}`,
		"else":   `{"kind":"Secret","metadata":{"name":"sec","namespace":"else"},"data":{"key":"` + b64([]byte("wrong")) + `"}}`,
		"pvc":    `{"kind":"PersistentVolumeClaim","metadata":{"name":"owui-data","namespace":"chat"},"spec":{"accessModes":["ReadWriteOnce"],"volumeName":"pv1"}}`,
		"pv":     `{"kind":"PersistentVolume","metadata":{"name":"pv1"},"spec":{"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/disk/pv1"}}}`,
	}
	var all []string
	for name, item := range items {
		if !slices.Contains(cut, name) {
			all = append(all, item)
		}
	}
	slices.Sort(all)
	return `{"apiVersion":"v1","kind":"List","items":[` + strings.Join(all, ",") + `]}`
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	a, err := read(t, workloads(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	lines, unequal, _ := a.Lines()
	want := []string{"A=direct", "B=b", "DATA_DIR=/app/backend/data", "M='multi\nline'", "P_key=k€y", "P_other=o", "URL=x://direct@$(A)/$(NOBODY)", "WEBUI_SECRET_KEY=k€y", "m='multi\nline'"}
	if !slices.Equal(lines, want) || !slices.Equal(unequal, []string{"M", "m"}) {
		t.Errorf("lines %q\nwant  %q\nunequal %q", lines, want, unequal)
	}
	m, host, ok := a.At(a.DataDir())
	if !ok || m.Kind != "claim" || m.Name != "owui-data" || host != "/disk/pv1/owui" || !strings.Contains(m.Note, "ReadWriteOnce: the Job must run on the app's node") {
		t.Errorf("data on %+v, %s", m, host)
	}
	if a.Name != "deployment/owui" || a.User != "1000:2000" || a.Stop != "kubectl scale -n chat deployment/owui --replicas=0" || a.Key().Variable != "WEBUI_SECRET_KEY" {
		t.Errorf("%+v, %+v", a, a.Key())
	}
	if got := strings.Join(a.Notes, "; "); !strings.Contains(got, "2 replicas") || !strings.Contains(got, "CPUS is given") || strings.Contains(got, "POD_IP") {
		t.Errorf("notes %s", got)
	}
	// What a reference leads to must be there, or the file would be of another
	// deployment.
	for cut, says := range map[string]string{"cm": "ConfigMap cm", "sec": "WEBUI_SECRET_KEY (key key of Secret sec)"} {
		if _, err := read(t, workloads(cut), "", nil); err == nil || !strings.Contains(err.Error(), says) || pipeline.ExitCode(err) != pipeline.ExitUsage {
			t.Errorf("without %s: %v", cut, err)
		}
	}
	if a, err := read(t, workloads("pvc", "pv"), "", nil); err != nil || !strings.Contains(a.Mounts[0].Note, "not in the input") {
		t.Errorf("without claim: %+v, %v", a.Mounts, err)
	}
}

// A manifest in YAML, of two documents, with a claim made from a template and
// the key in a file.
func TestKubernetesYAML(t *testing.T) {
	t.Parallel()
	a, err := read(t, `apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {REDIS_URL: redis://r}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: open-webui}
spec:
  template:
    spec:
      containers:
      - name: open-webui
        image: ghcr.io/open-webui/open-webui:0.12.4
        envFrom: [{secretRef: {name: s}}]
        volumeMounts: [{name: data, mountPath: /app/backend/data}]
      - name: proxy
        image: nginx
  volumeClaimTemplates:
  - metadata: {name: data}
`, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Name != "statefulset/open-webui/open-webui" || a.Vars["REDIS_URL"].Reveal() != "redis://r" || a.Mounts[0].Name != "data-open-webui-0" {
		t.Errorf("%+v", a)
	}
	if k := a.Key(); k.Fetch != "kubectl exec statefulset/open-webui -c open-webui -- cat /app/backend/.webui_secret_key > webui_secret_key" {
		t.Errorf("key %+v", k)
	}
}

const composed = `
services:
  chat:
    image: ${IMAGE:-ghcr.io/open-webui/open-webui}:${TAG:-v0.12.4}
    user: "1000"
    restart: always
    environment:
      - FROM_SHELL
      - A=${A} $$5
      - BOTH=${BOTH}
      - UNSET=${NOWHERE}
    env_file: [chat.env]
    volumes:
      - data:/app/backend/data
      - type: bind
        source: ./more
        target: /more
        read_only: true
  ollama:
    image: ollama/ollama
    env_file: not-there.env
volumes:
  data:
    driver_opts: {type: nfs, o: "addr=10.0.0.1,rw", device: ":/export"}
`

func TestCompose(t *testing.T) {
	t.Parallel()
	beside := map[string]string{".env": "A='a b'\nBOTH=file\n", "chat.env": "WEBUI_SECRET_KEY=\"k$$y\"\nA=lost\n"}
	a, err := read(t, composed, "", beside)
	if err != nil {
		t.Fatal(err)
	}
	lines, _, _ := a.Lines()
	for _, want := range []string{"A=a b $5", "BOTH=shell", "FROM_SHELL=s", "UNSET="} {
		if !slices.Contains(lines, want) {
			t.Errorf("%q is not in %q", want, lines)
		}
	}
	if a.Name != "chat" || a.Image != "ghcr.io/open-webui/open-webui:v0.12.4" || a.User != "1000" || a.Restart != "always" || a.Key().Variable != "WEBUI_SECRET_KEY" {
		t.Errorf("%+v", a)
	}
	if m, _, ok := a.At(a.DataDir()); !ok || m.Kind != "nfs" || m.Name != "10.0.0.1:/export" {
		t.Errorf("data on %+v", m)
	}
	if got := strings.Join(a.Notes, ";"); !strings.Contains(got, "NOWHERE") || strings.Contains(got, "TAG") || strings.Contains(got, "IMAGE") {
		t.Errorf("notes %s", got)
	}
	if _, err := read(t, composed, "ollama", beside); err == nil || !strings.Contains(err.Error(), "not-there.env") {
		t.Errorf("a missing env_file: %v", err)
	}
}

// Which one is meant, and what is refused.
func TestChoice(t *testing.T) {
	t.Parallel()
	two := `[` + strings.Trim(inspected, "[]") + `,` + strings.Replace(strings.Trim(inspected, "[]"), "/owui", "/test", 1) + `,{"Name":"/db","Config":{"Image":"postgres"}}]`
	for _, c := range []struct{ text, name, says string }{
		{two, "", "several may be meant: owui (ghcr.io/open-webui/open-webui:main), test (ghcr.io/open-webui/open-webui:main)"},
		{two, "nobody", "none is called nobody: db (postgres), owui"},
		{two, "test", ""},
		{`[{"Name":"/a","Config":{"Image":"x"}},{"Name":"/b","Config":{"Image":"ghcr.io/open-webui/pipelines"}}]`, "", "none of them is surely Open WebUI"},
		{"", "", "it is empty"},
		{"[", "", "not JSON at byte"},
		{"{}", "", "no container"},
		{"[]", "", "no container"},
		{"just words", "", "neither JSON nor YAML"},
		{"a: b", "", "none of the three kinds"},
		{`[{"Spec":{"Name":"x"}}]`, "", "swarm service"},
		{`{"kind":"List","items":[]}`, "", "no workload"},
		{`{"kind":"Deployment","spec":{"template":3}}`, "", "not what it should be"},
		{"services: {a: {image: [x]}}", "", "reading the compose file"},
		{"services: {a: {image: '${X:?secret reason}'}}", "", "reading the compose file"},
	} {
		a, err := read(t, c.text, c.name, nil)
		if c.says == "" {
			if err != nil || a.Name != c.name {
				t.Errorf("%.40q: %s, %v", c.text, a.Name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.says) || pipeline.ExitCode(err) != pipeline.ExitUsage {
			t.Errorf("%.40q %s: %v, want %q", c.text, c.name, err, c.says)
		}
	}
}
