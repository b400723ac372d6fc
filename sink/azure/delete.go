package azure

import (
	"context"
	"errors"
	"io/fs"

	"outgrow/mappings/objects"
)

var _ objects.Deleter = (*Uploader)(nil)

// Delete removes an object, and does not mind when there is none; in an account
// with versions the older ones stay. One with snapshots is an error.
func (u *Uploader) Delete(ctx context.Context, key string) error {
	_, err := u.b.Blob(key).Delete(ctx, nil)
	if err = u.b.Classify(ctx, "removing "+key, err); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
