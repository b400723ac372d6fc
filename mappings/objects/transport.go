package objects

import (
	"context"
	"net"
	"net/http"
	"time"
)

const (
	idle    = 128             // connections that are kept open
	silence = 5 * time.Minute // of a server, in the middle of an answer or before it
)

// NewTransport makes the connections of a store's client: many to one server,
// and given up when the server is silent for five minutes.
func NewTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 2*idle, idle
	t.ResponseHeaderTimeout = silence
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &patient{c}, nil
	}
	return t
}

// patient is a connection that fails when nothing has moved on it for so long.
type patient struct{ net.Conn }

func (c *patient) Read(p []byte) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(silence))
	return c.Conn.Read(p)
}

func (c *patient) Write(p []byte) (int, error) {
	_ = c.SetDeadline(time.Now().Add(silence)) // who is written to need not answer yet
	return c.Conn.Write(p)
}
