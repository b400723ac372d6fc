package servers

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// OpenWebUI runs the harness around the vector clients of an installed Open WebUI: owui_vec.py of the folder that
// OUTGROW_SHARED names.
type OpenWebUI struct {
	python, script, clients string

	kept *sync.Map // the variables → *keptClient
}

// NewOpenWebUI finds Open WebUI, which it never installs; without it the test is skipped. With clients it also finds
// those of Qdrant, Milvus and Pinecone, which Open WebUI does not bring: they are installed beside it with
// OUTGROW_INSTALL=1, else the test is skipped where they are not there.
func NewOpenWebUI(tb testing.TB, clients bool) OpenWebUI {
	tb.Helper()
	shared := Shared(tb)
	cache := os.Getenv("OUTGROW_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			tb.Fatal(err)
		}
		cache = filepath.Join(home, ".cache", "outgrow")
	}
	venv := filepath.Join(cache, "owui-0.12.4")
	if _, err := os.Stat(filepath.Join(venv, "installed")); err != nil {
		Skip(tb, "Open WebUI is not installed: testdata/e2e/openwebui.sh does that")
	}
	o := OpenWebUI{kept: &sync.Map{}, python: filepath.Join(venv, "bin", "python"), script: filepath.Join(shared, "tools", "owui_vec.py")}
	if !clients {
		return o
	}
	o.clients = filepath.Join(cache, "owui-clients-0.12.4")
	if _, err := os.Stat(filepath.Join(o.clients, "installed")); err == nil {
		return o
	}
	if os.Getenv("OUTGROW_INSTALL") != "1" {
		Skip(tb, "Open WebUI's clients are not installed: OUTGROW_INSTALL=1 does that")
	}
	if out, err := exec.CommandContext(tb.Context(), "bash", filepath.Join(testdata(tb), "matrix", "clients.sh"), o.python).CombinedOutput(); err != nil {
		tb.Fatalf("installing Open WebUI's clients: %v\n%s", err, out)
	}
	return o
}

// Run runs one command of the harness with these variables, "NAME=value" each, and a DATA_DIR of its own. A failure
// ends the test.
func (o OpenWebUI) Run(tb testing.TB, variables []string, args ...string) {
	tb.Helper()
	cmd := o.command(tb, variables, append([]string{o.script}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out[max(0, len(out)-3000):])
	}
}

func (o OpenWebUI) command(tb testing.TB, variables []string, args ...string) *exec.Cmd {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), o.python, args...)
	cmd.Env = append(os.Environ(), "DATA_DIR="+tb.TempDir(), "OFFLINE_MODE=true", "HF_HUB_OFFLINE=1", "ANONYMIZED_TELEMETRY=false")
	if o.clients != "" {
		cmd.Env = append(cmd.Env, "OWUI_VEC_OVERLAY="+o.clients)
	}
	cmd.Env = append(cmd.Env, variables...)
	return cmd
}

// RunKept is Run by a client that stays until the test ends which first asks with these variables, one at a time: to
// start Open WebUI takes longer than most commands.
func (o OpenWebUI) RunKept(tb testing.TB, variables []string, args ...string) {
	tb.Helper()
	if args[0] == "gen" { // which needs no client
		o.Run(tb, variables, args...)
		return
	}
	key := strings.Join(variables, "\x00")
	found, ok := o.kept.Load(key)
	if !ok {
		found = o.keep(tb, variables)
		o.kept.Store(key, found)
		tb.Cleanup(func() { o.kept.Delete(key) })
	}
	k := found.(*keptClient)
	var answer struct {
		Failed bool
		Error  string
	}
	if err := errors.Join(k.ask.Encode(map[string]any{"do": "run", "args": args}), k.answer.Decode(&answer)); err != nil || answer.Failed || answer.Error != "" {
		said, _ := os.ReadFile(k.log)
		tb.Fatalf("%s: %v %s\n%s", strings.Join(args, " "), err, answer.Error, said[max(0, len(said)-3000):])
	}
}

type keptClient struct {
	ask    *json.Encoder
	answer *json.Decoder
	log    string
}

func (o OpenWebUI) keep(tb testing.TB, variables []string) *keptClient {
	tb.Helper()
	cmd := o.command(tb, variables, filepath.Join(testdata(tb), "matrix", "client.py"))
	cmd.Env = append(cmd.Env, "OWUI_TOOLS="+filepath.Dir(o.script))
	k := &keptClient{log: filepath.Join(tb.TempDir(), "log")}
	log, err := os.Create(k.log)
	if err != nil {
		tb.Fatal(err)
	}
	cmd.Stderr = log
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start(), log.Close()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	k.ask, k.answer = json.NewEncoder(in), json.NewDecoder(out)
	if err := k.answer.Decode(&struct{}{}); err != nil {
		said, _ := os.ReadFile(k.log)
		tb.Fatalf("starting Open WebUI's client: %v\n%s", err, said[max(0, len(said)-3000):])
	}
	return k
}

// OpenWebUILine is a line of what the harness writes: a record of a dump, or what a search found.
type OpenWebUILine struct {
	Collection string          `json:"collection"`
	ID         string          `json:"id"`
	Text       *string         `json:"text"`
	Metadata   json.RawMessage `json:"metadata"`
	Vector     []float32       `json:"vector"`
	Ids        []string        `json:"ids"`
	Scores     []float64       `json:"scores"`
}

// OpenWebUILines reads such a file.
func OpenWebUILines(tb testing.TB, name string) (out []OpenWebUILine) {
	tb.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	for text := range bytes.Lines(raw) {
		var l OpenWebUILine
		if err := json.Unmarshal(text, &l); err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
		out = append(out, l)
	}
	return out
}
