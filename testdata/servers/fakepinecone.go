package servers

import (
	"sync"
	"testing"

	"outgrow/testdata/servers/fakepinecone"
)

// FakePinecone returns a fake of Pinecone, as the real service cannot be had. All tests of a process share it: use
// index names of your own. A test that makes it fail on purpose starts one for itself by [OwnFakePinecone].
func FakePinecone(tb testing.TB) *fakepinecone.Server {
	tb.Helper()
	sharedPinecone.once.Do(func() { sharedPinecone.server, sharedPinecone.err = fakepinecone.Start() })
	if sharedPinecone.err != nil {
		tb.Fatal(sharedPinecone.err)
	}
	return sharedPinecone.server
}

// OwnFakePinecone returns a fake of the test's own that ends with the test.
func OwnFakePinecone(tb testing.TB) *fakepinecone.Server {
	tb.Helper()
	s, err := fakepinecone.Start()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Stop)
	return s
}

var sharedPinecone struct {
	once   sync.Once
	server *fakepinecone.Server
	err    error
}
