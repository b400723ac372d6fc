package s3

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"outgrow/mappings/objects"
	"outgrow/mappings/s3"
)

// contentType is what Open WebUI's objects have: boto3 sends none, and this is
// what S3 then takes.
const contentType = "binary/octet-stream"

const (
	leastPart = 16 << 20
	maxParts  = 10_000 // Source: Amazon S3 User Guide, "Amazon S3 multipart upload limits"
)

// Uploader stores objects in a bucket. It is safe for concurrent use.
type Uploader struct {
	b      *s3.Bucket
	client *sdk.Client
	bucket *string
	keeps  atomic.Int32  // whether the server keeps to If-None-Match
	first  chan struct{} // held by the one who finds out
	plain  bool          // tests: as if the server did not know FULL_OBJECT
}

// What is known of If-None-Match.
const (
	unknown int32 = iota
	kept
	ignored
)

var (
	_ objects.Uploader = (*Uploader)(nil)
	_ objects.Verifier = (*Uploader)(nil)
)

// NewUploader writes to a bucket that is open.
func NewUploader(b *s3.Bucket) *Uploader {
	u := &Uploader{b: b, client: b.Client(), bucket: aws.String(b.Config().Bucket), first: make(chan struct{}, 1)}
	if b.Config().Endpoint == "" {
		u.keeps.Store(kept)
	}
	return u
}

// PartSize is 16 MiB, or what cuts the object into 10,000 parts.
func (u *Uploader) PartSize(bytes int64) int64 {
	const mib = 1 << 20
	least := (bytes + maxParts - 1) / maxParts
	return max(leastPart, (least+mib-1)/mib*mib)
}

// Needs reports that nothing has to be known beforehand.
func (u *Uploader) Needs() (crc32c, md5 bool) { return false, false }

// Verifies reports that an object of parts is verified by CRC32C.
func (u *Uploader) Verifies() objects.Algorithms { return objects.CRC32C }

// Put stores a small object.
func (u *Uploader) Put(ctx context.Context, up objects.Upload, body []byte) error {
	if up.Replace || u.keeps.Load() == kept {
		return u.put(ctx, up, body, !up.Replace)
	}
	if err := u.vacant(ctx, up.Key); err != nil {
		return err
	}
	select {
	case u.first <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if u.keeps.Load() == unknown {
		defer func() { <-u.first }()
		return u.putFirst(ctx, up, body)
	}
	<-u.first
	return u.put(ctx, up, body, u.keeps.Load() == kept)
}

// putFirst stores an object that is not there, and finds out by a second try
// whether the server keeps to the condition.
func (u *Uploader) putFirst(ctx context.Context, up objects.Upload, body []byte) error {
	err := u.put(ctx, up, body, true)
	switch {
	case errors.Is(err, objects.ErrTaken):
		u.keeps.Store(kept)
		return err
	case s3.Status(err) == http.StatusNotImplemented:
		u.keeps.Store(ignored)
		return u.put(ctx, up, body, false)
	case err != nil:
		return err
	}
	switch err := u.put(ctx, up, body, true); {
	case errors.Is(err, objects.ErrTaken):
		u.keeps.Store(kept)
	case err == nil:
		u.keeps.Store(ignored)
	} // anything else says nothing: the next one finds out
	return nil
}

// vacant fails with ErrTaken when the key has an object.
func (u *Uploader) vacant(ctx context.Context, key string) error {
	_, err := u.client.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: u.bucket, Key: aws.String(u.b.Key(key))})
	if err == nil {
		return taken(key)
	}
	if err := u.b.Classify(ctx, "looking at "+key, err); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func taken(key string) error { return fmt.Errorf("storing %s: %w", key, objects.ErrTaken) }

// put sends the object. Length and digests are known, so the SDK adds nothing
// of its own: over https the content is not signed (TLS and the digests protect
// it), over http it is.
func (u *Uploader) put(ctx context.Context, up objects.Upload, body []byte, condition bool) error {
	in := &sdk.PutObjectInput{Bucket: u.bucket, Key: aws.String(u.b.Key(up.Key)), Body: bytes.NewReader(body), ContentLength: aws.Int64(int64(len(body))),
		ContentType: aws.String(contentType), Tagging: tagging(up)}
	var err error
	if in.ChecksumCRC32C, err = spell(up.Sums.CRC32C); err != nil {
		return err
	}
	if in.ContentMD5, err = spell(up.Sums.MD5); err != nil {
		return err
	}
	if in.ChecksumCRC32C != nil {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32c
	}
	if condition {
		in.IfNoneMatch = aws.String("*")
	}
	_, err = u.client.PutObject(ctx, in)
	if condition && s3.Status(err) == http.StatusPreconditionFailed {
		return taken(up.Key)
	}
	return u.b.Classify(ctx, "storing "+up.Key, err)
}

func tagging(up objects.Upload) *string {
	if len(up.Tags) == 0 {
		return nil
	}
	return aws.String(s3.Tagging(up.Tags))
}

// spell spells a hexadecimal digest in Base64, as S3 does; nil for none.
func spell(digest string) (*string, error) {
	if digest == "" {
		return nil, nil
	}
	raw, err := hex.DecodeString(digest)
	if err != nil {
		return nil, fmt.Errorf("reading the digest %q: %w", digest, err)
	}
	return aws.String(base64.StdEncoding.EncodeToString(raw)), nil
}

// spellCRC32C is spell for a number.
func spellCRC32C(crc uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}
