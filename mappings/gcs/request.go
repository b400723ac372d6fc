package gcs

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"time"

	"outgrow/pipeline"
)

const (
	google    = "https://storage.googleapis.com"
	attempts  = 2        // of a question, the engine retries as well
	mostJSON  = 16 << 20 // bytes of an answer; a page has at most 1,000 names of 1,024 bytes
	mostError = 64 << 10
)

// Object is the metadata of an object, as far as they are told or asked here.
// Source: Cloud Storage JSON API, resource Objects.
type Object struct {
	Name            string            `json:"name,omitempty"`
	ContentType     string            `json:"contentType,omitempty"`
	ContentEncoding string            `json:"contentEncoding,omitempty"`
	Size            int64             `json:"size,string,omitempty"`
	Generation      int64             `json:"generation,string,omitempty"`
	Updated         time.Time         `json:"updated,omitzero"`
	CRC32C          string            `json:"crc32c,omitempty"`  // Base64, big endian
	MD5             string            `json:"md5Hash,omitempty"` // Base64
	Metadata        map[string]string `json:"metadata,omitempty"`
}

// Endpoint is the server, without a path or a slash at the end.
func (b *Bucket) Endpoint() string {
	if b.cfg.Emulator != "" {
		return b.cfg.Emulator
	}
	return google
}

// Address is where the JSON API has an object, or with the key "" all of them.
func (b *Bucket) Address(key string, q url.Values) string {
	at := b.Endpoint() + "/storage/v1/b/" + url.PathEscape(b.cfg.Bucket) + "/o"
	if key != "" {
		at += "/" + url.PathEscape(key)
	}
	return at + "?" + q.Encode()
}

// Do sends a request with the bucket's credentials and reads the JSON of the
// answer, where there is some and into is not nil. It follows no redirect. An
// error is to be classified; [Status] tells that of the server's answer. The
// answer of an unfinished upload (308 to a PUT) is no error.
func (b *Bucket) Do(req *http.Request, into any) (status int, header http.Header, err error) {
	res, err := b.send(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, mostJSON))
	if err == nil && into != nil && len(body) > 0 {
		err = json.Unmarshal(body, into)
	}
	return res.StatusCode, res.Header, err
}

// send gives the answer with its body unread.
func (b *Bucket) send(req *http.Request) (*http.Response, error) {
	res, err := b.client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 == 2 || res.StatusCode == http.StatusPermanentRedirect && req.Method == http.MethodPut {
		return res, nil
	}
	defer res.Body.Close()
	return nil, refused(res)
}

// refused reads what the server says to a request that it does not do.
func refused(res *http.Response) error {
	var text struct {
		Error struct {
			Message string `json:"message"`
			Errors  []struct {
				Reason string `json:"reason"`
			} `json:"errors"`
		} `json:"error"`
	}
	if body, err := io.ReadAll(io.LimitReader(res.Body, mostError)); err == nil {
		_ = json.Unmarshal(body, &text) // a proxy's answer is none of JSON
	}
	a := &answer{status: res.StatusCode, message: text.Error.Message, after: pipeline.ParseRetryAfter(res.Header.Get("Retry-After"))}
	for _, e := range text.Error.Errors {
		a.reasons = append(a.reasons, e.Reason)
	}
	return a
}

// ask asks for something, twice where that may help; errors are classified.
func (b *Bucket) ask(ctx context.Context, at string, into any, classify func(error) error) error {
	return pipeline.Backoff{Attempts: attempts, Base: 100 * time.Millisecond, Max: time.Second}.Do(ctx, func(int) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
		if err != nil {
			return err
		}
		_, _, err = b.Do(req, into)
		return classify(err)
	})
}
