package gcs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"

	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

// List gives every object with its digests, in the order of the server.
func (b *Bucket) List(ctx context.Context) iter.Seq2[objects.Info, error] {
	return func(yield func(objects.Info, error) bool) {
		q := &storage.Query{Projection: storage.ProjectionNoACL}
		err := q.SetAttrSelection([]string{"Name", "Size", "Updated", "Generation", "CRC32C", "MD5"})
		if err != nil {
			yield(objects.Info{}, err)
			return
		}
		it := b.bucket.Objects(ctx, q)
		for {
			a, err := it.Next()
			if errors.Is(err, iterator.Done) {
				return
			}
			if err != nil {
				yield(objects.Info{}, b.ClassifyBucket(ctx, "listing the bucket", err))
				return
			}
			if !yield(info(a), nil) {
				return
			}
		}
	}
}

func info(a *storage.ObjectAttrs) objects.Info {
	i := objects.Info{Key: a.Name, Bytes: a.Size, ModTime: a.Updated, Version: strconv.FormatInt(a.Generation, 10)}
	// The SDK gives 0 for none, which is also that of no bytes.
	if a.CRC32C != 0 || a.Size == 0 {
		i.Sums.CRC32C = objects.FormatCRC32C(a.CRC32C)
	}
	i.Sums.MD5 = hex.EncodeToString(a.MD5)
	return i
}

// Head gives one object with its digests.
func (b *Bucket) Head(ctx context.Context, key string) (objects.Info, error) {
	a, err := b.bucket.Object(key).Attrs(ctx)
	if err != nil {
		return objects.Info{}, b.Classify(ctx, "looking at "+key, err)
	}
	return info(a), nil
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

// get asks for a content as it is stored. The SDK cannot: its JSON reader takes
// no Accept-Encoding, without which the server unpacks, and its XML reader does
// not find an emulator that goes by another name.
func (b *Bucket) get(ctx context.Context, i objects.Info, from int64) (*http.Response, error) {
	q := url.Values{"alt": {"media"}}
	if i.Version != "" {
		q.Set("generation", i.Version)
	}
	at := b.Endpoint() + "/storage/v1/b/" + url.PathEscape(b.cfg.Bucket) + "/o/" + url.PathEscape(i.Key) + "?" + q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "gzip")
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	res, err := b.client.Do(req)
	if err != nil {
		return nil, err
	}
	if err := googleapi.CheckResponse(res); err != nil {
		_ = res.Body.Close()
		return nil, err
	}
	return res, nil
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
