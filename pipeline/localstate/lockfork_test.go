package localstate

import (
	"os/exec"
	"testing"

	"outgrow/pipeline"
)

// A lock that was given back is free, whatever programs are being started at that
// moment.
func TestReleaseWhileForking(t *testing.T) {
	t.Parallel()
	stop, ended := make(chan struct{}), make(chan error, 4)
	for range cap(ended) {
		go func() {
			for {
				select {
				case <-stop:
					ended <- nil
					return
				default:
				}
				if err := exec.Command("true").Run(); err != nil {
					ended <- err
					return
				}
			}
		}()
	}
	dir := t.TempDir()
	for range 400 {
		s, err := Open(t.Context(), dir, pipeline.Rows)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.acquire(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
