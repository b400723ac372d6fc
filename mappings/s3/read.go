package s3

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

// List gives what is below the prefix, in the order of the server. It gives no
// digests.
func (b *Bucket) List(ctx context.Context) iter.Seq2[objects.Info, error] {
	return func(yield func(objects.Info, error) bool) {
		pages := sdk.NewListObjectsV2Paginator(b.client, &sdk.ListObjectsV2Input{
			// A key may have what XML cannot.
			Bucket: &b.cfg.Bucket, Prefix: &b.cfg.Prefix, EncodingType: types.EncodingTypeUrl})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(objects.Info{}, b.Classify(ctx, "listing the bucket", err))
				return
			}
			for _, o := range page.Contents {
				info, err := b.listed(o, page.EncodingType)
				if err != nil {
					yield(objects.Info{}, err)
					return
				}
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

func (b *Bucket) listed(o types.Object, encoding types.EncodingType) (objects.Info, error) {
	key, err := Decode(aws.ToString(o.Key), encoding)
	if err != nil {
		return objects.Info{}, err
	}
	below, inside := strings.CutPrefix(key, b.cfg.Prefix)
	if !inside {
		return objects.Info{}, fmt.Errorf("listing the bucket: %q is not below the prefix %q", key, b.cfg.Prefix)
	}
	return objects.Info{Key: below, Bytes: aws.ToInt64(o.Size), ModTime: aws.ToTime(o.LastModified), Version: aws.ToString(o.ETag)}, nil
}

// Decode gives the key that a listing spells in its encoding.
func Decode(key string, encoding types.EncodingType) (string, error) {
	if encoding != types.EncodingTypeUrl {
		return key, nil
	}
	raw, err := url.QueryUnescape(key)
	if err != nil {
		return "", fmt.Errorf("reading the listing's key %q: %w", key, err)
	}
	return raw, nil
}

// Head gives one object with its digests, see the package.
func (b *Bucket) Head(ctx context.Context, key string) (objects.Info, error) {
	out, err := b.client.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: &b.cfg.Bucket, Key: aws.String(b.Key(key)), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return objects.Info{}, b.Classify(ctx, "looking at "+key, err)
	}
	info := objects.Info{Key: key, Bytes: aws.ToInt64(out.ContentLength), ModTime: aws.ToTime(out.LastModified), Version: aws.ToString(out.ETag)}
	info.Sums = checksums(out.ChecksumType, out.ChecksumCRC32C, out.ChecksumSHA256)
	if md5 := PlainETag(info.Version); md5 != "" && !otherwise(out.ServerSideEncryption, out.SSECustomerAlgorithm) {
		ok, err := b.etagsAreMD5(ctx, info)
		if err != nil {
			return objects.Info{}, err
		}
		if ok {
			info.Sums.MD5 = md5
		}
	}
	return info, nil
}

// checksums gives those that are of the whole content.
func checksums(of types.ChecksumType, crc32c, sha256 *string) objects.Sums {
	if of == types.ChecksumTypeComposite {
		return objects.Sums{}
	}
	return objects.Sums{CRC32C: checksum(crc32c, 4), SHA256: checksum(sha256, 32)}
}

// checksum spells a checksum in hexadecimal; "" when it is none of that many
// bytes, as those of a composite are ("…-3").
func checksum(s *string, bytes int) string {
	raw, err := base64.StdEncoding.DecodeString(aws.ToString(s))
	if err != nil || len(raw) != bytes {
		return ""
	}
	return hex.EncodeToString(raw)
}

var plainETag = regexp.MustCompile(`^"?([0-9a-fA-F]{32})"?$`)

// PlainETag is the MD5 that an ETag may be, "" when it is that of several parts
// or something else.
func PlainETag(etag string) string {
	m := plainETag.FindStringSubmatch(etag)
	if m == nil {
		return ""
	}
	return strings.ToLower(m[1])
}

// otherwise reports whether an object is encrypted so that its ETag is no MD5.
// Source: Amazon S3 API Reference, Object, ETag.
func otherwise(sse types.ServerSideEncryption, customer *string) bool {
	return sse != "" && sse != types.ServerSideEncryptionAes256 || aws.ToString(customer) != ""
}

// sample is how large an object may be that is read to learn about ETags.
const sample = 1 << 20

// md5Known reports whether it is known already that ETags are MD5s.
func (b *Bucket) md5Known() bool {
	if b.aws() {
		return true
	}
	b.etags.Lock()
	defer b.etags.Unlock()
	return b.etags.known && b.etags.md5
}

// etagsAreMD5 reports whether the server's ETags are MD5s. It reads the object,
// when it is small, and remembers what it saw; several may do so at first.
func (b *Bucket) etagsAreMD5(ctx context.Context, info objects.Info) (bool, error) {
	if b.aws() {
		return true, nil
	}
	b.etags.Lock()
	known, md5 := b.etags.known, b.etags.md5
	b.etags.Unlock()
	if known || info.Bytes == 0 || info.Bytes > sample {
		return md5, nil
	}
	r, err := b.Open(ctx, info, 0)
	if errors.Is(err, objects.ErrChanged) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer r.Close()
	h := objects.NewHasher(objects.MD5)
	if _, err := io.Copy(h, r); err != nil {
		return false, err
	}
	b.etags.Lock()
	defer b.etags.Unlock()
	b.etags.known, b.etags.md5 = true, h.Sums().MD5 == PlainETag(info.Version)
	return b.etags.md5, nil
}

// Open gives the content from a byte on. What is read whole is verified against
// the checksum that the server keeps; a reader that is at its end has given all
// bytes.
func (b *Bucket) Open(ctx context.Context, info objects.Info, from int64) (io.ReadCloser, error) {
	op := "reading " + info.Key
	in := &sdk.GetObjectInput{Bucket: &b.cfg.Bucket, Key: aws.String(b.Key(info.Key))}
	switch {
	case from < 0 || from > info.Bytes:
		return nil, &pipeline.Error{Op: op, Err: fmt.Errorf("it has no byte %d", from)}
	case from > 0 && from == info.Bytes:
		return http.NoBody, nil // S3 refuses a range of nothing
	case from > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", from))
	default:
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	if info.Version != "" {
		in.IfMatch = &info.Version
	}
	out, err := b.client.GetObject(ctx, in)
	if Status(err) == http.StatusPreconditionFailed || Status(err) == http.StatusRequestedRangeNotSatisfiable {
		return nil, objects.Changed(op)
	}
	if err != nil {
		return nil, b.Classify(ctx, op, err)
	}
	if other := info.Version != "" && aws.ToString(out.ETag) != info.Version; other || out.ContentLength != nil && *out.ContentLength != info.Bytes-from {
		_ = out.Body.Close()
		return nil, objects.Changed(op)
	}
	if from > 0 && out.ContentRange == nil {
		_ = out.Body.Close()
		return nil, pipeline.Environment(op, errors.ErrUnsupported, "check S3_ENDPOINT_URL: the server does not send parts of an object")
	}
	r := &body{Body: objects.Body{ReadCloser: out.Body, Left: info.Bytes - from}}
	r.Classify = func(err error) error {
		if r.Left == 0 && ctx.Err() == nil {
			// All has come: it is the checksum.
			return &pipeline.Error{Op: op, Err: pipeline.Transient(fmt.Errorf("%w: %w", objects.ErrDigest, err))}
		}
		return b.Classify(ctx, op, err)
	}
	r.sums = checksums(out.ChecksumType, out.ChecksumCRC32C, out.ChecksumSHA256)
	if !otherwise(out.ServerSideEncryption, out.SSECustomerAlgorithm) && b.md5Known() {
		r.sums.MD5 = PlainETag(aws.ToString(out.ETag))
	}
	return r, nil
}

// body is the content of an answer that told the digests of the whole object.
type body struct {
	objects.Body
	sums objects.Sums
}

// Sums gives those digests.
func (r *body) Sums() objects.Sums { return r.sums }
