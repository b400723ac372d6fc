package servers

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// PgBouncer starts a pooler in transaction mode in front of the database, and
// gives its address. It ends with the test.
func PgBouncer(tb testing.TB, dsn string) string {
	tb.Helper()
	bin, err := exec.LookPath("pgbouncer")
	if err != nil {
		if bin, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			Skip(tb, "no pgbouncer: %v", err)
		}
	}
	u, err := url.Parse(dsn)
	if err != nil {
		tb.Fatal(err)
	}
	out, err := exec.Command("python3", filepath.Join(testdata(tb), "servers", "free_ports.py"), "1").Output()
	if err != nil {
		tb.Fatal(err)
	}
	port := strings.TrimSpace(string(out))
	address := net.JoinHostPort("127.0.0.1", port)
	dir := tb.TempDir()
	password, _ := u.User.Password()
	ini := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf("[databases]\n%s = host=%s port=%s user=%s password=%s\n[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port=%s\nunix_socket_dir=\nauth_type=any\npool_mode=transaction\ndefault_pool_size=10\n",
		strings.TrimPrefix(u.Path, "/"), u.Hostname(), u.Port(), u.User.Username(), password, port)
	if err := os.WriteFile(ini, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(bin, ini)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if os.Getuid() == 0 { // which pgbouncer refuses
		for _, d := range []string{dir, filepath.Dir(dir)} {
			if err := os.Chmod(d, 0o755); err != nil {
				tb.Fatal(err)
			}
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	for range 30_000 {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return address
		}
		select {
		case <-ended:
			tb.Fatalf("pgbouncer does not start: %s", said.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	tb.Fatalf("pgbouncer does not listen: %s", said.String())
	return ""
}
