package gcs

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

// listed are the members of an [Object] that are asked of.
const listed = "name,size,updated,generation,crc32c,md5Hash"

// page is a part of a listing. Source: JSON API, Objects: list.
type page struct {
	Items []Object `json:"items"`
	Next  string   `json:"nextPageToken"`
}

// page asks for the part of the listing that the token names, "" for the first,
// and for at most that many objects, 0 for as many as the server gives.
func (b *Bucket) page(ctx context.Context, op, token string, most int) (p page, err error) {
	q := url.Values{"projection": {"noAcl"}, "prettyPrint": {"false"}, "fields": {"nextPageToken,items(" + listed + ")"}}
	if token != "" {
		q.Set("pageToken", token)
	}
	if most > 0 {
		q.Set("maxResults", strconv.Itoa(most))
	}
	err = b.ask(ctx, b.Address("", q), &p, objects.Classifier(ctx, op, b.ClassifyBucket))
	return p, err
}

// List gives every object with its digests, in the order of the server.
func (b *Bucket) List(ctx context.Context) iter.Seq2[objects.Info, error] {
	return func(yield func(objects.Info, error) bool) {
		for token := ""; ; {
			p, err := b.page(ctx, "listing the bucket", token, 0)
			if err != nil {
				yield(objects.Info{}, err)
				return
			}
			for _, o := range p.Items {
				if !yield(info(o), nil) {
					return
				}
			}
			if token = p.Next; token == "" {
				return
			}
		}
	}
}

func info(o Object) objects.Info {
	return objects.Info{Key: o.Name, Bytes: o.Size, ModTime: o.Updated, Version: strconv.FormatInt(o.Generation, 10),
		Sums: objects.Sums{CRC32C: digest(o.CRC32C), MD5: digest(o.MD5)}}
}

// digest spells a digest of the API's in hexadecimal; "" for none.
func digest(text string) string {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return hex.EncodeToString(raw)
}

// Head gives one object with its digests.
func (b *Bucket) Head(ctx context.Context, key string) (objects.Info, error) {
	var o Object
	q := url.Values{"projection": {"noAcl"}, "prettyPrint": {"false"}, "fields": {listed}}
	if err := b.ask(ctx, b.Address(key, q), &o, objects.Classifier(ctx, "looking at "+key, b.Classify)); err != nil {
		return objects.Info{}, err
	}
	return info(o), nil
}

// Open gives the content from a byte on. A reader that is at its end has given
// all bytes.
func (b *Bucket) Open(ctx context.Context, i objects.Info, from int64) (io.ReadCloser, error) {
	op := "reading " + i.Key
	if from < 0 || from > i.Bytes {
		return nil, &pipeline.Error{Op: op, Err: fmt.Errorf("it has no byte %d", from)}
	}
	if from > 0 && from == i.Bytes {
		return http.NoBody, nil // GCS refuses a range of nothing
	}
	res, err := b.get(ctx, i, from)
	switch {
	case Status(err) == http.StatusNotFound || Status(err) == http.StatusRequestedRangeNotSatisfiable:
		return nil, b.replaced(ctx, op, i, err)
	case err != nil:
		return nil, b.Classify(ctx, op, err)
	}
	switch generation := res.Header.Get("X-Goog-Generation"); {
	case generation != "" && i.Version != "" && generation != i.Version, res.ContentLength >= 0 && res.ContentLength != i.Bytes-from:
		err = objects.Changed(op)
	case from > 0 && res.StatusCode != http.StatusPartialContent:
		err = pipeline.Environment(op, errors.ErrUnsupported, "check STORAGE_EMULATOR_HOST: the server does not send parts of an object")
	}
	if err != nil {
		_ = res.Body.Close()
		return nil, err
	}
	return &objects.Body{ReadCloser: res.Body, Left: i.Bytes - from, Classify: objects.Classifier(ctx, op, b.Classify)}, nil
}

// get asks for a content as it is stored: without Accept-Encoding the server
// unpacks.
func (b *Bucket) get(ctx context.Context, i objects.Info, from int64) (*http.Response, error) {
	q := url.Values{"alt": {"media"}}
	if i.Version != "" {
		q.Set("generation", i.Version)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.Address(i.Key, q), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "gzip")
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	return b.send(req)
}

// replaced tells a generation that is gone from an object that is.
func (b *Bucket) replaced(ctx context.Context, op string, i objects.Info, cause error) error {
	now, err := b.Head(ctx, i.Key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return b.Classify(ctx, op, cause)
	case err != nil:
		return err
	case now.Version == i.Version: // it has come back, or the server is at odds with itself
		return b.Classify(ctx, op, cause)
	}
	return objects.Changed(op)
}
