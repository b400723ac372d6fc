package azure

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

// List gives every object with the MD5 that is kept of it, in the order of the
// server. Snapshots, older versions and what is unfinished are none.
func (b *Bucket) List(ctx context.Context) iter.Seq2[objects.Info, error] {
	return func(yield func(objects.Info, error) bool) {
		for item, err := range b.items(ctx, container.ListBlobsInclude{}) {
			if err != nil {
				yield(objects.Info{}, err)
				return
			}
			i := info(deref(item.Name), item.Properties.ContentLength, item.Properties.LastModified, item.Properties.ETag, item.Properties.ContentMD5)
			if i.Key, err = b.named(ctx, i); err != nil {
				yield(objects.Info{}, err)
				return
			}
			if !yield(i, nil) {
				return
			}
		}
	}
}

// items lists the container. The directories that an account with a hierarchical
// namespace has are left out.
func (b *Bucket) items(ctx context.Context, include container.ListBlobsInclude) iter.Seq2[*container.BlobItem, error] {
	return func(yield func(*container.BlobItem, error) bool) {
		pages := b.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{MaxResults: &b.page, Include: include})
		for pages.More() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(nil, b.ClassifyBucket(ctx, "listing the container", err))
				return
			}
			for _, item := range page.Segment.BlobItems {
				if item.Properties == nil || deref(item.Properties.ResourceType) == "directory" {
					continue
				}
				if !yield(item, nil) {
					return
				}
			}
		}
	}
}

// named is the key by which Open WebUI finds what is listed, see the package.
func (b *Bucket) named(ctx context.Context, i objects.Info) (string, error) {
	if !strings.Contains(i.Key, "/") {
		return i.Key, nil
	}
	key := strings.ReplaceAll(i.Key, "/", `\`)
	b.slashes.Lock()
	defer b.slashes.Unlock()
	if !b.slashes.known {
		found, err := b.Head(ctx, key)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, objects.ErrName):
			b.slashes.known = true
		case err != nil:
			return "", err
		case found.Version != i.Version: // another one, or replaced meanwhile
			return i.Key, nil
		default:
			b.slashes.known, b.slashes.same = true, true
		}
	}
	if b.slashes.same {
		return key, nil
	}
	return i.Key, nil
}

// Unfinished counts the names below which there are blocks and no object yet, by
// whomever.
func (b *Bucket) Unfinished(ctx context.Context) (int, error) {
	done := map[string]bool{}
	for item, err := range b.items(ctx, container.ListBlobsInclude{}) {
		if err != nil {
			return 0, err
		}
		done[deref(item.Name)] = true
	}
	n := 0
	for item, err := range b.items(ctx, container.ListBlobsInclude{UncommittedBlobs: true}) {
		if err != nil {
			return 0, err
		}
		if !done[deref(item.Name)] {
			n++
		}
	}
	return n, nil
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// info spells the version without the quotes, which a listing does not have.
func info(key string, bytes *int64, modified *time.Time, etag *azcore.ETag, md5 []byte) objects.Info {
	return objects.Info{Key: key, Bytes: deref(bytes), ModTime: deref(modified), Version: strings.Trim(string(deref(etag)), `"`),
		Sums: objects.Sums{MD5: hex.EncodeToString(md5)}}
}

// Head gives one object with the MD5 that is kept of it.
func (b *Bucket) Head(ctx context.Context, key string) (objects.Info, error) {
	p, err := b.Blob(key).GetProperties(ctx, nil)
	if err != nil {
		return objects.Info{}, b.Classify(ctx, "looking at "+key, err)
	}
	return info(key, p.ContentLength, p.LastModified, p.ETag, p.ContentMD5), nil
}

// Open gives the content from a byte on. A reader that is at its end has given
// all bytes.
func (b *Bucket) Open(ctx context.Context, i objects.Info, from int64) (io.ReadCloser, error) {
	op := "reading " + i.Key
	if from < 0 || from > i.Bytes {
		return nil, &pipeline.Error{Op: op, Err: fmt.Errorf("it has no byte %d", from)}
	}
	if from > 0 && from == i.Bytes {
		return http.NoBody, nil // Azure refuses a range of nothing
	}
	opts := &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: from}}
	if i.Version != "" {
		etag := azcore.ETag(`"` + i.Version + `"`)
		opts.AccessConditions = &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: &etag}}
	}
	res, err := b.Blob(i.Key).DownloadStream(ctx, opts)
	switch {
	case Status(err) == http.StatusPreconditionFailed && !bloberror.HasCode(err, bloberror.LeaseIDMissing), Status(err) == http.StatusRequestedRangeNotSatisfiable:
		return nil, b.replaced(ctx, op, i, err)
	case err != nil:
		return nil, b.Classify(ctx, op, err)
	}
	etag := strings.Trim(string(deref(res.ETag)), `"`)
	switch {
	case etag != "" && i.Version != "" && etag != i.Version, res.ContentLength != nil && *res.ContentLength != i.Bytes-from:
		err = objects.Changed(op)
	case from > 0 && res.ContentRange == nil:
		err = pipeline.Environment(op, errors.ErrUnsupported, "check AZURE_STORAGE_ENDPOINT: the server does not send parts of an object")
	}
	if err != nil {
		_ = res.Body.Close()
		return nil, err
	}
	return &objects.Body{ReadCloser: res.Body, Left: i.Bytes - from, Classify: objects.Classifier(ctx, op, b.Classify)}, nil
}

// replaced tells an object that is gone from another one: Azurite has one answer
// for both.
func (b *Bucket) replaced(ctx context.Context, op string, i objects.Info, cause error) error {
	now, err := b.Head(ctx, i.Key)
	switch {
	case err != nil:
		return err
	case now.Version == i.Version: // it has come back, or the server is at odds with itself
		return b.Classify(ctx, op, cause)
	}
	return objects.Changed(op)
}
