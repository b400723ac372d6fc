package gcs

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"outgrow/mappings/gcs"
	"outgrow/mappings/objects"
)

var _ objects.Deleter = (*Uploader)(nil)

// Delete removes an object; in a bucket with versions the older ones stay.
func (u *Uploader) Delete(ctx context.Context, key string) error {
	return u.b.Classify(ctx, "removing "+key, u.remove(ctx, key, url.Values{}))
}

// discard removes an object unless it is another one than that generation by
// now.
func (u *Uploader) discard(ctx context.Context, key string, generation int64) error {
	err := u.remove(ctx, key, url.Values{"ifGenerationMatch": {strconv.FormatInt(generation, 10)}})
	if gcs.Status(err) == http.StatusPreconditionFailed {
		return nil
	}
	return u.b.Classify(ctx, "removing the damaged "+key, err)
}

// remove removes an object, where it is there and the conditions hold.
func (u *Uploader) remove(ctx context.Context, key string, conditions url.Values) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, u.b.Address(key, conditions), nil)
	if err != nil {
		return err
	}
	if _, _, err = u.b.Do(req, nil); gcs.Status(err) == http.StatusNotFound {
		return nil
	}
	return err
}
