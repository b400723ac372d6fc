// Package s3 reads the uploaded files from a bucket of S3 or of a server that
// speaks its protocol. What all object stores have in common is in
// outgrow/source/objects, what is S3's own in outgrow/mappings/s3.
package s3

import (
	"context"

	"outgrow/mappings/env"
	"outgrow/mappings/s3"
	"outgrow/source/objects"
)

// Open connects to the bucket and sees that it can be read. Of more, the Bucket
// is filled in.
func Open(ctx context.Context, cfg env.S3Config, more objects.Config) (*objects.Source, error) {
	b, err := s3.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	more.Bucket = b
	return objects.Open(ctx, more)
}
