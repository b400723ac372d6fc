// Package gcs reads the uploaded files from a bucket of Google Cloud Storage or
// of an emulator of it. What all object stores have in common is in
// outgrow/source/objects, what is this one's own in outgrow/mappings/gcs.
package gcs

import (
	"context"

	"outgrow/mappings/env"
	"outgrow/mappings/gcs"
	"outgrow/source/objects"
)

// Open connects to the bucket and sees that it can be read. Of more, Bucket and
// Flat are filled in.
func Open(ctx context.Context, cfg env.GCSConfig, more objects.Config) (*objects.Source, error) {
	b, err := gcs.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	more.Bucket, more.Flat = b, true
	return objects.Open(ctx, more)
}
