package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"outgrow/testdata/servers"
)

// otlp has a command send traces and metrics to a collector, in as much time as a
// loaded machine takes, under a name of its own.
func otlp(c *servers.CollectorServer, protocol, key string) []string {
	port := c.HTTP
	if protocol == "grpc" {
		port = c.GRPC
	}
	return []string{"OTEL_EXPORTER_OTLP_PROTOCOL=" + protocol, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:" + strconv.Itoa(port), "OTEL_EXPORTER_OTLP_TIMEOUT=60000",
		"OTEL_EXPORTER_OTLP_HEADERS=api-key=" + key, "OTEL_SERVICE_NAME=outgrow-" + strings.TrimSuffix(protocol, "/protobuf")}
}

// received gives what a collector has got of a kind (Spans, Metrics) from a
// service, out of its log.
func received(log, kind, service string) string {
	var b strings.Builder
	begins := regexp.MustCompile(`Resource(Spans|Metrics) #\d+`).FindAllStringSubmatchIndex(log, -1)
	for i, at := range begins {
		end := len(log)
		if i+1 < len(begins) {
			end = begins[i+1][0]
		}
		if part := log[at[0]:end]; log[at[2]:at[3]] == kind && strings.Contains(part, "service.name: Str("+service+")") {
			b.WriteString(part)
		}
	}
	return b.String()
}

// A real collector gets spans and figures of a migration and of a comparison by
// both protocols, and no secret, path, host or content in them.
func TestCollectorGetsTheRun(t *testing.T) {
	t.Parallel()
	c, l := servers.StartCollector(t), newLab(t, "")
	const key = "headergeheim"
	for _, x := range []struct{ protocol, command, service string }{{"grpc", "migrate", "outgrow-grpc"}, {"http/protobuf", "verify", "outgrow-http"}} {
		cmd := l.command(l.pair(x.command)...)
		cmd.Env = append(cmd.Env, otlp(c, x.protocol, key)...)
		r := l.wait(cmd).exits(0)
		if strings.Contains(r.both(), "could not all be sent") || strings.Contains(r.both(), key) {
			t.Errorf("%s by %s: %s", x.command, x.protocol, r.both())
		}
		log := c.Log(t)
		spans, metrics := received(log, "Spans", x.service), received(log, "Metrics", x.service)
		for _, want := range []string{`Name\s+: outgrow ` + x.command + `\n`, `Name\s+: ` + x.command + `\n`, `Name\s+: rows\n`, `Name\s+: vectors\n`, `Name\s+: files\n`, `Name\s+: unit\n`,
			`-> outgrow\.unit: Str\(chat\)`, `-> outgrow\.unit: Str\(uploads\)`, `-> outgrow\.exit_code: Int\(0\)`} {
			if !regexp.MustCompile(want).MatchString(spans) {
				t.Errorf("by %s the collector has got no span with %s", x.protocol, want)
			}
		}
		for _, want := range []string{`-> Name: outgrow\.records\.read\n`, `-> Name: outgrow\.read\.bytes\n`, `-> Name: outgrow\.batch\.duration\n`, `-> Name: outgrow\.progress\.records\n`,
			`-> outgrow\.step: Str\(` + x.command + `\)`, `-> outgrow\.lane: Str\(vectors\)`} {
			if !regexp.MustCompile(want).MatchString(metrics) {
				t.Errorf("by %s the collector has got no figure with %s", x.protocol, want)
			}
		}
		if t.Failed() {
			t.Fatalf("%.8000s", log)
		}
	}
	log := c.Log(t)
	if !regexp.MustCompile(`-> outgrow\.stage: Str\(building \d+ indexes`).MatchString(received(log, "Spans", "outgrow-grpc")) {
		t.Error("no span of what is done once the records are there")
	}
	var written int64
	for _, u := range l.report().Migrate.Units {
		if strings.HasPrefix(u.Unit, "rows/") {
			written += u.Written
		}
	}
	value := regexp.MustCompile(`(?s)-> Name: outgrow\.records\.written\n.*?-> outgrow\.lane: Str\(rows\)\n\s+-> outgrow\.step: Str\(migrate\)\n.*?Value: (\d+)`)
	// Figures are sent once a minute and at the end: the last ones are whole.
	all := value.FindAllStringSubmatch(received(log, "Metrics", "outgrow-grpc"), -1)
	if len(all) == 0 || all[len(all)-1][1] != strconv.FormatInt(written, 10) {
		t.Errorf("rows written: %.300q, want %d", all, written)
	}
	words := map[string]string{"a header's key": key, "the key": servers.SecretKey, "the target's folder": l.dir, "the source's folder": l.from, "the address of the database": l.dsn}
	for _, text := range l.contents() {
		words["content: "+text] = text
	}
	for name, word := range words {
		if strings.Contains(log, word) {
			t.Errorf("the collector has got %s", name)
		}
	}
}

// contents are texts that people wrote, out of the target's rows: none of them is
// a name that Open WebUI or this machine gives to anything.
func (l *lab) contents() []string {
	l.tb.Helper()
	all := strings.Split(ask[string](l, `SELECT string_agg(v, chr(1)) FROM (SELECT email AS v FROM "user" UNION SELECT name FROM "user" UNION SELECT title FROM chat
		UNION SELECT filename FROM file UNION SELECT name FROM knowledge UNION SELECT id FROM chat) AS x WHERE length(v) >= 8`), "\x01")
	if len(all) < 10 {
		l.tb.Fatalf("only %q to look for", all)
	}
	return all
}

// Without a collector a run ends as it would have, and says so.
func TestCollectorIsAway(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		cmd := l.command(l.pair("plan")...)
		cmd.Env = append(cmd.Env, "OTEL_EXPORTER_OTLP_PROTOCOL="+protocol, "OTEL_EXPORTER_OTLP_ENDPOINT=http://me:urlgeheim@127.0.0.1:1", "OTEL_EXPORTER_OTLP_HEADERS=api-key=headergeheim")
		if r := l.wait(cmd).exits(0, "note    traces or metrics could not all be sent"); strings.Contains(r.both(), "geheim") {
			t.Error(r.both())
		}
	}
}

// held is a migration that goes on until it is interrupted, however slow or fast
// the machine is: it writes a vector a second.
type held struct {
	tb   testing.TB
	cmd  *exec.Cmd
	url  string // of its metrics
	out  bytes.Buffer
	said bytes.Buffer
	done chan struct{} // closed when all is said
}

// hold starts a migration that is to be interrupted, with more of an environment.
func (l *lab) hold(environ []string, more ...string) *held {
	l.tb.Helper()
	h := &held{tb: l.tb, cmd: l.command(l.pair("migrate", append([]string{"--rate", "1", "--metrics-addr", "0"}, more...)...)...), done: make(chan struct{})}
	h.cmd.Env = append(h.cmd.Env, environ...)
	h.cmd.Stdout = &h.out
	said, err := h.cmd.StderrPipe()
	if err != nil {
		l.tb.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		l.tb.Fatal(err)
	}
	l.tb.Cleanup(func() { _ = h.cmd.Process.Kill() })
	reader := bufio.NewReader(said)
	line, _ := reader.ReadString('\n')
	go func() {
		defer close(h.done)
		_, _ = io.Copy(&h.said, reader)
	}()
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "metrics ")
	if !ok || !strings.HasPrefix(url, "http://127.0.0.1:") {
		l.tb.Fatalf("its first line is %q", line)
	}
	h.url = url
	return h
}

// scrape asks for the metrics until every text is among them.
func (h *held) scrape(texts ...string) string {
	h.tb.Helper()
	for {
		r, err := http.Get(h.url)
		if err != nil {
			r := h.interrupt()
			h.tb.Fatalf("%v: exit %d: %s", err, r.code, r.both())
		}
		body, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			h.tb.Fatal(err)
		}
		all := true
		for _, text := range texts {
			all = all && strings.Contains(string(body), text)
		}
		if all {
			return string(body)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// interrupt ends it as Ctrl-C does.
func (h *held) interrupt() result {
	h.tb.Helper()
	_ = h.cmd.Process.Signal(syscall.SIGINT)
	<-h.done
	_ = h.cmd.Wait()
	return result{h.tb, h.cmd.Args[1:], h.cmd.ProcessState.ExitCode(), h.out.String(), h.said.String()}
}

func TestMetricsWhileItRuns(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	h := l.hold(nil)
	text := h.scrape(`outgrow_progress_records_expected{step="migrate",lane="rows"}`, `outgrow_records_written_total{step="migrate",lane="vectors"}`)
	h.interrupt().exits(130)
	for _, want := range []string{`outgrow_info{command="migrate",version=`, "# TYPE outgrow_records_written_total counter", "# TYPE outgrow_batch_duration_seconds histogram"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

// An address that cannot be had ends the command before it looks at anything.
func TestMetricsAddressRefused(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "scaled.env")
	if err := os.WriteFile(file, []byte("DATABASE_URL=postgresql://u@127.0.0.1:1/d\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]int{"x:y:z": 2, "10.0.0.5": 2, "0.0.0.0:0": 2, taken.Addr().String(): 3} {
		var out, stderr strings.Builder
		code := run(t.Context(), []string{"plan", "--from", dir, "--to", file, "--metrics-addr", address}, nil, &out, &stderr)
		if code != want || !strings.Contains(stderr.String(), "--metrics-addr") {
			t.Errorf("%s: exit %d, want %d: %s", address, code, want, stderr.String())
		}
	}
}
