package azure

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"outgrow/mappings/azure"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

// contentType is what Open WebUI's objects have: its client sends none of its
// own.
const contentType = "application/octet-stream"

const (
	leastPart = 16 << 20
	maxBlocks = 50_000 // Source: "Scalability and performance targets for Blob storage"
)

// Uploader stores objects in a container. It is safe for concurrent use.
type Uploader struct {
	b    *azure.Bucket
	part int64 // tests: the size of a part
}

var (
	_ objects.Uploader = (*Uploader)(nil)
	_ objects.Verifier = (*Uploader)(nil)
)

// NewUploader writes to a container that is open.
func NewUploader(b *azure.Bucket) *Uploader { return &Uploader{b: b, part: leastPart} }

// PartSize is 16 MiB, or what cuts the object into 50,000 blocks.
func (u *Uploader) PartSize(bytes int64) int64 {
	const mib = 1 << 20
	least := (bytes + maxBlocks - 1) / maxBlocks
	if least <= u.part {
		return u.part
	}
	return (least + mib - 1) / mib * mib
}

// Needs reports that nothing has to be known beforehand.
func (u *Uploader) Needs() (crc32c, md5 bool) { return false, false }

// Verifies reports that an object of blocks keeps its MD5; the CRC32C is told in
// any case.
func (u *Uploader) Verifies() objects.Algorithms { return objects.MD5 }

// Put stores a small object.
func (u *Uploader) Put(ctx context.Context, up objects.Upload, body []byte) error {
	op := "storing " + up.Key
	headers, err := headers(up.Sums)
	if err != nil {
		return &pipeline.Error{Op: op, Err: err}
	}
	opts := &blockblob.UploadOptions{HTTPHeaders: headers, AccessConditions: condition(up)}
	if headers.BlobContentMD5 != nil {
		opts.TransactionalValidation = blob.TransferValidationTypeMD5(headers.BlobContentMD5)
	}
	if _, err := u.b.Blob(up.Key).Upload(azure.Once(ctx), streaming.NopCloser(bytes.NewReader(body)), opts); err != nil {
		return u.refused(ctx, op, up, err)
	}
	return nil
}

// headers are what is kept with an object.
func headers(sums objects.Sums) (*blob.HTTPHeaders, error) {
	kind := contentType
	h := &blob.HTTPHeaders{BlobContentType: &kind}
	if sums.MD5 == "" {
		return h, nil
	}
	md5, err := hex.DecodeString(sums.MD5)
	if err != nil {
		return nil, fmt.Errorf("reading the digest %q: %w", sums.MD5, err)
	}
	h.BlobContentMD5 = md5
	return h, nil
}

// condition is that there is no object of the name, unless it is to be replaced.
func condition(up objects.Upload) *blob.AccessConditions {
	if up.Replace {
		return nil
	}
	none := azcore.ETagAny
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: &none}}
}

// refused is why an object was not stored. Source: Azure answers 409 to a write
// under If-None-Match: *, for any other condition 412.
func (u *Uploader) refused(ctx context.Context, op string, up objects.Upload, err error) error {
	taken := azure.Status(err) == http.StatusConflict && azure.Code(err) == "BlobAlreadyExists" ||
		azure.Status(err) == http.StatusPreconditionFailed && (azure.Code(err) == "ConditionNotMet" || azure.Code(err) == "TargetConditionNotMet")
	if !up.Replace && taken {
		return fmt.Errorf("storing %s: %w", up.Key, objects.ErrTaken)
	}
	return u.b.ClassifyUpload(ctx, op, err)
}
