package servers

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
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
	process
	Endpoint string // for AZURE_STORAGE_ENDPOINT: http://127.0.0.1:PORT/devstoreaccount1
	Key      string // for AZURE_STORAGE_KEY
}

// Azure gives the Azurite that all tests of a process share: give each test a
// container of its own. It ends with the process.
func Azure(tb testing.TB) *AzureServer {
	tb.Helper()
	sharedAzure.once.Do(func() {
		s := &AzureServer{Key: AzureKey, process: newProcess(tb, "azure.sh")}
		sharedAzure.err = s.share("azure", &s.Endpoint)
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
	s := &AzureServer{Key: AzureKey, process: newProcess(tb, "azure.sh")}
	s.dir = tb.TempDir()
	if err := s.run("hold", &s.Endpoint); err != nil {
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

// Restart starts a stopped server again, with its data and on its port.
func (s *AzureServer) Restart(tb testing.TB) {
	tb.Helper()
	if err := s.run("hold", &s.Endpoint); err != nil {
		tb.Fatalf("starting Azurite again: %v", err)
	}
}
