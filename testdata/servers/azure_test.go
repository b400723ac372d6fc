package servers

import (
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
)

func TestAzureKeepsItsDataAndItsPort(t *testing.T) {
	t.Parallel()
	s := StartAzure(t)
	container, endpoint := s.Container(t), s.Endpoint
	if _, err := s.Client(t).UploadBuffer(t.Context(), container, "a b%20", []byte("content"), nil); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Restart(t)
	if s.Endpoint != endpoint {
		t.Errorf("now at %s, was at %s", s.Endpoint, endpoint)
	}
	body := make([]byte, 7)
	if n, err := s.Client(t).DownloadBuffer(t.Context(), container, "a b%20", body, nil); err != nil || string(body[:n]) != "content" {
		t.Errorf("%q, %v", body, err)
	}
	if other := Azure(t); other.Endpoint == s.Endpoint || other.Container(t) == container {
		t.Error("the shared server is not another one")
	}
	if _, err := s.Client(t).CreateContainer(t.Context(), container, nil); !bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
		t.Errorf("the container is gone: %v", err)
	}
}
