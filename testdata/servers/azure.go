package servers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
)

// AzureAccount and AzureKey are what every Azurite lets in. Source: Azurite's
// documentation, "Default Storage Account".
const (
	AzureAccount = "devstoreaccount1"
	AzureKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// AzureServer is a running Azurite, which speaks the protocol of Azure Blob.
type AzureServer struct {
	Endpoint string // for AZURE_STORAGE_ENDPOINT: http://127.0.0.1:PORT/devstoreaccount1
	Key      string // for AZURE_STORAGE_KEY
	PID      int

	script, dir string
	hold        io.Closer
	cmd         *exec.Cmd
}

// Azure gives the Azurite that all tests of a process share: give each test a
// container of its own. It ends with the process.
func Azure(tb testing.TB) *AzureServer {
	tb.Helper()
	sharedAzure.once.Do(func() {
		s := &AzureServer{Key: AzureKey, script: filepath.Join(testdata(tb), "servers", "azure.sh")}
		//nolint:usetesting // it outlives the test that asks first
		if s.dir, sharedAzure.err = os.MkdirTemp("", "outgrow-azure."); sharedAzure.err == nil {
			sharedAzure.err = s.run("serve")
		}
		sharedAzure.server = s
	})
	if sharedAzure.err != nil {
		Skip(tb, "no Azure Blob: %v", sharedAzure.err)
	}
	return sharedAzure.server
}

var sharedAzure struct {
	once       sync.Once
	server     *AzureServer
	err        error
	containers atomic.Int64
}

// StartAzure starts an Azurite of the test's own, which ends with the test.
func StartAzure(tb testing.TB) *AzureServer {
	tb.Helper()
	s := &AzureServer{Key: AzureKey, script: filepath.Join(testdata(tb), "servers", "azure.sh"), dir: tb.TempDir()}
	if err := s.run("hold"); err != nil {
		Skip(tb, "no Azure Blob: %v", err)
	}
	tb.Cleanup(s.Stop)
	return s
}

// Client gives the server's own client, with the account's key.
func (s *AzureServer) Client(tb testing.TB) *azblob.Client {
	tb.Helper()
	cred, err := azblob.NewSharedKeyCredential(AzureAccount, s.Key)
	if err != nil {
		tb.Fatal(err)
	}
	client, err := azblob.NewClientWithSharedKeyCredential(s.Endpoint, cred, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return client
}

// Container makes a new, empty container and gives its name.
func (s *AzureServer) Container(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("outgrow-%d-%d", os.Getpid(), sharedAzure.containers.Add(1))
	if _, err := s.Client(tb).CreateContainer(tb.Context(), name, nil); err != nil {
		tb.Fatalf("making a container: %v", err)
	}
	return name
}

// Stop stops the server and keeps its data. A second call is harmless.
func (s *AzureServer) Stop() {
	if s.cmd != nil {
		_ = s.hold.Close()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Kill ends the server as a crash would, with kill -9. What Azurite has not
// written yet is lost: it saves its index of blobs every few seconds only.
func (s *AzureServer) Kill() {
	_ = syscall.Kill(s.PID, syscall.SIGKILL)
	s.Stop()
}

// Restart starts a stopped server again, with its data and on its port.
func (s *AzureServer) Restart(tb testing.TB) {
	tb.Helper()
	if err := s.run("hold"); err != nil {
		tb.Fatalf("starting Azurite again: %v", err)
	}
}

func (s *AzureServer) run(how string) error {
	s.cmd = exec.Command("bash", s.script, how, s.dir)
	// A group of its own: an interrupt at the terminal ends the test, and thereby the server, in that order.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said strings.Builder
	s.cmd.Stderr = &said
	hold, err := s.cmd.StdinPipe()
	if err != nil {
		return err
	}
	s.hold = hold
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", s.script, err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = s.cmd.Wait()
		s.cmd = nil
		return errors.New(strings.TrimSpace(said.String()))
	}
	_, err = fmt.Sscan(line, &s.Endpoint, &s.PID)
	return err
}
