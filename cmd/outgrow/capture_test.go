package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outgrow/mappings/env"
)

// captureOn runs capture on a text, from.env beside it.
func captureOn(tb testing.TB, dir, text string, args ...string) (code int, said string) {
	tb.Helper()
	in := filepath.Join(dir, "input")
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	var out, stderr bytes.Buffer
	code = run(tb.Context(), append([]string{"capture", in, "--out", filepath.Join(dir, "from.env")}, args...), nil, &out, &stderr)
	return code, out.String() + stderr.String()
}

const oneContainer = `[{"Name":"/owui","Config":{"Image":"ghcr.io/open-webui/open-webui:main","Env":["VECTOR_DB=chroma","OPENAI_API_KEY= lead"]},
 "HostConfig":{"RestartPolicy":{"Name":"always"}},"Mounts":[{"Type":"bind","Source":"/srv/owui","Destination":"/app/backend/data"}]}]`

// What is written is private, read back exactly, and never over something else.
func TestCaptureWrites(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "from.env")
	code, said := captureOn(t, dir, oneContainer)
	for _, want := range []string{"--from-mount /srv/owui", "always brings the old app back", "docker update --restart=no owui", "docker cp owui:/app/backend/.webui_secret_key", "OPENAI_API_KEY", "next    outgrow plan --from "} {
		if code != 0 || !strings.Contains(said, want) {
			t.Errorf("exit %d, want 0 and %q: %s", code, want, said)
		}
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	d, err := env.Load("from", file, "", nil)
	if err != nil || d.Vars["OPENAI_API_KEY"].Reveal() != " lead" || d.Vars["VECTOR_DB"].Reveal() != "chroma" || d.DataDir != env.DockerDataDir {
		t.Errorf("read back %v, %v", d.Vars, err)
	}
	if code, said := captureOn(t, dir, oneContainer); code != 0 {
		t.Errorf("the same again: exit %d: %s", code, said)
	}
	before, _ := os.ReadFile(file)
	if code, said := captureOn(t, dir, strings.Replace(oneContainer, "chroma", "qdrant", 1)); code != 2 || !strings.Contains(said, "--force") {
		t.Errorf("over something else: exit %d: %s", code, said)
	}
	if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
	if code, said := captureOn(t, dir, strings.Replace(oneContainer, "chroma", "qdrant", 1), "--force"); code != 0 {
		t.Errorf("--force: exit %d: %s", code, said)
	}
	if after, _ := os.ReadFile(file); !strings.Contains(string(after), "VECTOR_DB=qdrant") {
		t.Errorf("--force left %s", after)
	}
}

func TestCaptureWithoutAMount(t *testing.T) {
	t.Parallel()
	code, said := captureOn(t, t.TempDir(), strings.Replace(oneContainer, "/app/backend/data", "/elsewhere", 1))
	if code != 0 || !strings.Contains(said, "container's own layer") || !strings.Contains(said, "first   docker cp owui:/app/backend/data ./data") || !strings.Contains(said, "--from-mount ./data") {
		t.Errorf("exit %d: %s", code, said)
	}
}

// A marked value in every variable is in the file alone, whatever is wrong with
// the input.
func TestCaptureShowsNoValue(t *testing.T) {
	t.Parallel()
	const mark = "M4rked"
	names := []string{"WEBUI_SECRET_KEY", "OPENAI_API_KEYS", "DATABASE_URL", "REDIS_URL", "WEBUI_NAME", "TOOL_SERVER_CONNECTIONS", "ANY_OTHER", "RAG_OPENAI_API_KEY"}
	var list, pairs, secret []string
	for i, n := range names {
		v := fmt.Sprintf("x://u:%s%d@h #'\\\"", mark, i)
		list = append(list, fmt.Sprintf("%q", n+"="+v))
		pairs = append(pairs, fmt.Sprintf("      %s: %q", n, v))
		secret = append(secret, fmt.Sprintf("%q:%q", n, base64.StdEncoding.EncodeToString([]byte(v))))
	}
	docker := `[{"Name":"/owui","Config":{"Image":"open-webui","Env":[` + strings.Join(list, ",") + `]}}]`
	compose := "services:\n  owui:\n    image: open-webui\n    environment:\n" + strings.Join(pairs, "\n") + "\n"
	kubernetes := `{"kind":"List","items":[{"kind":"Secret","metadata":{"name":"s"},"data":{` + strings.Join(secret, ",") + `}},{"kind":"Deployment","metadata":{"name":"owui"},
		"spec":{"template":{"spec":{"containers":[{"name":"a","image":"open-webui","envFrom":[{"secretRef":{"name":"s"}}]}]}}}}]}`
	for i, text := range []string{docker, compose, kubernetes} {
		dir := t.TempDir()
		for _, how := range [][]string{nil, {"--json"}} {
			if code, said := captureOn(t, dir, text, how...); code != 0 || strings.Contains(said, mark) {
				t.Errorf("%d: exit %d: %s", i, code, said)
			}
		}
		if body, err := os.ReadFile(filepath.Join(dir, "from.env")); err != nil || strings.Count(string(body), mark) != len(names) {
			t.Errorf("%d: %v: %s", i, err, body)
		}
		for _, broken := range []string{text + "]", text[1:], text[:len(text)-3], strings.Replace(text, "owui", "owui\x00", 1), strings.Replace(text, "x://", "${", 1),
			strings.Replace(text, `"image"`, `"env"`, 1), strings.Replace(text, "image:", "\timage:", 1), strings.Replace(text, "environment:", "environment: [", 1), strings.Replace(text, "open-webui", "[]", 1)} {
			for _, how := range [][]string{{"--force"}, {"--force", "--json"}, {"--name", "nobody"}} {
				if _, said := captureOn(t, dir, broken, how...); strings.Contains(said, mark) || said == "" {
					t.Errorf("%d broken: %s", i, said)
				}
			}
		}
	}
	// And what stands beside a compose file.
	for name, body := range map[string]string{".env": "A=1\nB=\"" + mark + "\n", "a.env": "A='it\\'s " + mark + "\n", "b.env": mark + " b=" + mark + "\n"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, said := captureOn(t, dir, "services: {owui: {image: open-webui, env_file: [{path: a.env, required: false}, {path: b.env, required: false}]}}"); code != 2 || strings.Contains(said, mark) {
			t.Errorf("%s: exit %d: %s", name, code, said)
		}
	}
}
