package s3

import (
	"context"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"outgrow/mappings/objects"
	"outgrow/mappings/s3"
)

var _ objects.Deleter = (*Uploader)(nil)

// Delete removes an object; in a bucket with versions the older ones stay.
func (u *Uploader) Delete(ctx context.Context, key string) error {
	_, err := u.client.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: u.bucket, Key: aws.String(u.b.Key(key))})
	if err == nil || s3.Status(err) == http.StatusNotFound {
		return nil
	}
	return u.b.Classify(ctx, "removing "+key, err)
}
