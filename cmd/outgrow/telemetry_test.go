package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"outgrow/testdata/servers"
)

// A real collector gets spans and figures of a migration and of a comparison by
// both protocols, and no secret, path or host in them.
func TestCollectorGetsTheRun(t *testing.T) {
	t.Parallel()
	c, l := servers.StartCollector(t), newLab(t, "")
	const key = "headergeheim"
	watched := func(protocol string, port int, command string) result {
		t.Helper()
		cmd := l.command(l.pair(command)...)
		cmd.Env = append(cmd.Env, "OTEL_EXPORTER_OTLP_PROTOCOL="+protocol, "OTEL_EXPORTER_OTLP_HEADERS=api-key="+key,
			"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:"+strconv.Itoa(port))
		r := l.wait(cmd)
		if strings.Contains(r.both(), "could not be sent") || strings.Contains(r.both(), key) {
			t.Errorf("%s by %s: %s", command, protocol, r.both())
		}
		return r
	}
	watched("grpc", c.GRPC, "migrate").exits(0)
	watched("http/protobuf", c.HTTP, "verify").exits(0, "verify: equal")
	log := c.Log(t)
	for _, want := range []string{
		`Name\s+: outgrow migrate`, `Name\s+: outgrow verify`, `Name\s+: rows`, `Name\s+: vectors`, `Name\s+: files`, `Name\s+: unit`, `Name\s+: finish`,
		`-> service\.name: Str\(outgrow\)`, `-> outgrow\.unit: Str\(chat\)`, `-> outgrow\.unit: Str\(uploads\)`, `-> outgrow\.stage: Str\(setting sequences\)`,
		`-> outgrow\.exit_code: Int\(0\)`, `-> Name: outgrow\.records\.read`, `-> Name: outgrow\.batch\.duration`, `-> outgrow\.step: Str\(verify\)`,
	} {
		if !regexp.MustCompile(want).MatchString(log) {
			t.Errorf("the collector has not got %s", want)
		}
	}
	var written int64
	for _, u := range l.report().Migrate.Units {
		if strings.HasPrefix(u.Unit, "rows/") {
			written += u.Written
		}
	}
	value := regexp.MustCompile(`(?s)-> Name: outgrow\.records\.written\n.*?-> outgrow\.lane: Str\(rows\)\n\s+-> outgrow\.step: Str\(migrate\)\n.*?Value: (\d+)`)
	// Figures are sent once a minute and at the end: the last ones are whole.
	all := value.FindAllStringSubmatch(log, -1)
	if len(all) == 0 || all[len(all)-1][1] != strconv.FormatInt(written, 10) {
		t.Errorf("rows written: %.300q, want %d", all, written)
	}
	for name, word := range map[string]string{"a header's key": key, "the key": servers.SecretKey, "the target's folder": l.dir, "the source's folder": l.from, "the address of the database": l.dsn} {
		if strings.Contains(log, word) {
			t.Errorf("the collector has got %s", name)
		}
	}
	if t.Failed() {
		t.Logf("%.6000s", log)
	}
}

// Without a collector a run ends as it would have, and says so.
func TestCollectorIsAway(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	cmd := l.command(l.pair("plan")...)
	cmd.Env = append(cmd.Env, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_HEADERS=api-key=headergeheim")
	if r := l.wait(cmd).exits(0, "note    traces or metrics could not be sent"); strings.Contains(r.both(), "headergeheim") {
		t.Error(r.both())
	}
}

func TestMetricsWhileItRuns(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	cmd := l.command(l.pair("migrate", append([]string{"--metrics-addr", "0"}, slow...)...)...)
	var out bytes.Buffer
	cmd.Stdout = &out
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(said)
	line, _ := reader.ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "metrics ")
	if !ok || !strings.HasPrefix(url, "http://127.0.0.1:") {
		_ = cmd.Process.Kill()
		t.Fatalf("%q", line)
	}
	text, err := "", error(nil)
	for !strings.Contains(text, `outgrow_progress_records_expected{step="migrate",lane="rows"}`) {
		var r *http.Response
		if r, err = http.Get(url); err != nil {
			break // it has ended
		}
		body, rerr := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if text, err = string(body), rerr; err != nil {
			break
		}
	}
	rest, _ := io.ReadAll(reader)
	if werr := cmd.Wait(); werr != nil || err != nil {
		t.Fatalf("%v, %v: %s%s\n%s", werr, err, out.String(), rest, text)
	}
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
	for address, want := range map[string]int{"x:y:z": 2, "10.0.0.5": 2, taken.Addr().String(): 3} {
		var out, stderr strings.Builder
		code := run(t.Context(), []string{"plan", "--from", dir, "--to", file, "--metrics-addr", address}, nil, &out, &stderr)
		if code != want || !strings.Contains(stderr.String(), "--metrics-addr") {
			t.Errorf("%s: exit %d, want %d: %s", address, code, want, stderr.String())
		}
	}
}
