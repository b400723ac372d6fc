package servers

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Every fault is met exactly by the request that it is for, and what is beside it passes unharmed.
func TestFaultProxy(t *testing.T) {
	sent := strings.Repeat("a", 40_000)
	damaged := sent[:20_000] + "`" + sent[20_001:]
	for _, c := range []struct {
		name   string
		do     Action
		stored []string // what the server got of three uploads
		got    []string // what the client got back from them
		lost   int      // how many of what the server got it did not acknowledge
	}{
		{"nothing", 0, []string{sent, sent, sent}, []string{sent, sent, sent}, 0},
		{"flipped request", FlipRequest, []string{sent, damaged, sent}, []string{sent, damaged, sent}, 0},
		{"cut request", CutRequest, []string{sent, "unexpected EOF", sent}, []string{sent, "error", sent}, 1},
		{"flipped response", FlipResponse, []string{sent, sent, sent}, []string{sent, damaged, sent}, 0},
		{"cut response", CutResponse, []string{sent, sent, sent}, []string{sent, "error", sent}, 0},
		{"500", ServerError, []string{sent, sent}, []string{sent, "500", sent}, 0},
		{"reset", Reset, []string{sent, sent}, []string{sent, "error", sent}, 0},
		{"lost answer", LostAnswer, []string{sent, sent, sent}, []string{sent, "error", sent}, 0},
		{"delay", Delay, []string{sent, sent, sent}, []string{sent, sent, sent}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			stored := make(chan string, 3)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					stored <- err.Error()
					return
				}
				stored <- string(body)
				w.Header().Set("Location", "http://"+r.Host+"/session")
				w.Header().Set("Content-Length", strconv.Itoa(len(body)))
				_, _ = w.Write(body)
			}))
			defer server.Close()
			p := NewFaultProxy(t, server.URL)
			if c.do != 0 {
				p.Set(&Fault{Do: c.do, Match: Large(1000), After: 1, Wait: 10 * time.Millisecond})
			}
			p.Count(Large(1000))
			var got []string
			// A client that sends again by itself would meet the fault twice.
			client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for range 3 {
				got = append(got, put(t, &client, p.URL+"/a%2Fb", sent))
			}
			for i, want := range c.got {
				if got[i] != want {
					t.Errorf("upload %d: the client got %.40q, want %.40q", i, got[i], want)
				}
			}
			// Where the client is cut off, the server may notice it later.
			is, want := make([]string, len(c.stored)), slices.Clone(c.stored)
			for i := range is {
				is[i] = <-stored
			}
			slices.Sort(is)
			slices.Sort(want)
			if !slices.Equal(is, want) {
				t.Errorf("the server got %.40q, want %.40q", is, want)
			}
			if want := min(1, int(c.do)); p.Met() != want {
				t.Errorf("the fault was met %d times, want %d", p.Met(), want)
			}
			if p.Unmet() != 0 {
				t.Error("a fault was not met")
			}
			if n := p.Stored(); n != int64(40_000*(len(c.stored)-c.lost)) {
				t.Errorf("%d bytes stored", n)
			}
			if n := p.Sent(); n < 2*40_000 || n > 3*40_000 {
				t.Errorf("%d bytes counted", n)
			}
		})
	}
}

// put gives the body of the answer, its status when that is not 200, or "error".
func put(t *testing.T, client *http.Client, url, body string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		return "error"
	}
	defer answer.Body.Close()
	back, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return "error"
	case answer.StatusCode != http.StatusOK:
		return answer.Status[:3]
	case answer.Header.Get("Location") != strings.TrimSuffix(url, "/a%2Fb")+"/session":
		return "location " + answer.Header.Get("Location")
	}
	return string(back)
}
