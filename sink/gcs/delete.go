package gcs

import (
	"context"
	"net/http"

	"outgrow/mappings/gcs"
	"outgrow/mappings/objects"
)

var _ objects.Deleter = (*Uploader)(nil)

// Delete removes an object; in a bucket with versions the older ones stay.
func (u *Uploader) Delete(ctx context.Context, key string) error {
	err := u.b.Handle().Object(key).Delete(ctx)
	if err == nil || gcs.Status(err) == http.StatusNotFound {
		return nil
	}
	return u.b.Classify(ctx, "removing "+key, err)
}
