package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"outgrow/mappings/objects"
	"outgrow/mappings/s3"
	"outgrow/pipeline"
)

// parts is a multipart upload. It is safe for concurrent use.
type parts struct {
	u       *Uploader
	up      objects.Upload
	key, id string
	full    bool // the server verifies the CRC32C of the whole
	each    bool // it takes the CRC32C of a part

	mu   sync.Mutex
	have map[int]part
}

// part is one that the server has.
type part struct {
	etag   string
	crc32c string // as S3 spells it
	bytes  int64
	md5    string // hexadecimal, "" when it was not computed
}

var _ objects.Parts = (*parts)(nil)

// Has reports whether an earlier run, or this one, has stored that part.
func (p *parts) Has(n int, bytes int64, crc32c uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	x, ok := p.have[n]
	return ok && x.bytes == bytes && x.crc32c == spellCRC32C(crc32c)
}

// Parallel reports that parts come in any order.
func (p *parts) Parallel() bool { return true }

// Put stores one part.
func (p *parts) Put(ctx context.Context, n int, body []byte, crc32c uint32) error {
	x := part{crc32c: spellCRC32C(crc32c), bytes: int64(len(body))}
	in := &sdk.UploadPartInput{Bucket: p.u.bucket, Key: &p.key, UploadId: &p.id, PartNumber: aws.Int32(int32(n) + 1),
		Body: bytes.NewReader(body), ContentLength: aws.Int64(int64(len(body)))}
	if p.each {
		in.ChecksumAlgorithm, in.ChecksumCRC32C = types.ChecksumAlgorithmCrc32c, &x.crc32c
	}
	if !p.full {
		sum := md5.Sum(body)
		x.md5 = hex.EncodeToString(sum[:])
		in.ContentMD5 = aws.String(base64.StdEncoding.EncodeToString(sum[:]))
	}
	out, err := p.u.client.UploadPart(ctx, in)
	if err != nil {
		return p.u.b.Classify(ctx, fmt.Sprintf("storing part %d of %s", n, p.up.Key), err)
	}
	x.etag = aws.ToString(out.ETag)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.have[n] = x
	return nil
}

// Complete makes the object.
func (p *parts) Complete(ctx context.Context, sums objects.Sums) error {
	op := "completing the upload of " + p.up.Key
	list, sizes, err := p.list()
	if err == nil && sizes != p.up.Bytes {
		err = fmt.Errorf("they have %d bytes instead of %d: %w", sizes, p.up.Bytes, errParts)
	}
	if err != nil {
		return &pipeline.Error{Op: op, Err: err}
	}
	in := &sdk.CompleteMultipartUploadInput{Bucket: p.u.bucket, Key: &p.key, UploadId: &p.id, MultipartUpload: &types.CompletedMultipartUpload{Parts: list}}
	if p.full {
		in.ChecksumType, in.MpuObjectSize = types.ChecksumTypeFullObject, &p.up.Bytes
		if in.ChecksumCRC32C, err = spell(sums.CRC32C); err != nil {
			return err
		}
	}
	if !p.up.Replace {
		if p.u.keeps.Load() != kept {
			if err := p.u.vacant(ctx, p.up.Key); err != nil {
				return p.orTaken(ctx, err)
			}
		}
		if p.u.keeps.Load() != ignored {
			in.IfNoneMatch = aws.String("*")
		}
	}
	out, err := p.u.client.CompleteMultipartUpload(ctx, in)
	if in.IfNoneMatch != nil && s3.Status(err) == http.StatusNotImplemented {
		p.u.keeps.Store(ignored)
		in.IfNoneMatch = nil
		out, err = p.u.client.CompleteMultipartUpload(ctx, in)
	}
	switch {
	case in.IfNoneMatch != nil && s3.Status(err) == http.StatusPreconditionFailed:
		return p.orTaken(ctx, taken(p.up.Key))
	case err != nil:
		return p.u.b.Classify(ctx, op, err)
	}
	if p.full || p.same(aws.ToString(out.ETag)) {
		return nil
	}
	// What was made of the parts is not what was sent.
	if _, err := p.u.client.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: p.u.bucket, Key: &p.key}); err != nil {
		return p.u.b.Classify(ctx, "removing the damaged "+p.up.Key, err)
	}
	return &pipeline.Error{Op: op, Err: pipeline.Transient(objects.ErrDigest)}
}

var errParts = errors.New("the parts are not those of the object")

// orTaken gives the parts up when the key is taken.
func (p *parts) orTaken(ctx context.Context, err error) error {
	if errors.Is(err, objects.ErrTaken) {
		if aerr := p.Abort(ctx); aerr != nil {
			return aerr
		}
	}
	return err
}

// list gives the parts of the object, in order, and how long they are together.
func (p *parts) list() (list []types.CompletedPart, sizes int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := 0; sizes < p.up.Bytes; n++ {
		x, ok := p.have[n]
		if !ok || x.bytes == 0 {
			return nil, sizes, fmt.Errorf("part %d: %w", n, errParts)
		}
		c := types.CompletedPart{ETag: aws.String(x.etag), PartNumber: aws.Int32(int32(n) + 1)}
		if p.each {
			c.ChecksumCRC32C = aws.String(x.crc32c)
		}
		list = append(list, c)
		sizes += x.bytes
	}
	return list, sizes, nil
}

// same compares the object's ETag with that of the parts that were sent, where
// the server has not verified the whole: the MD5 of their MD5s and how many there
// are. A server whose ETags are something else has at least verified each part.
func (p *parts) same(etag string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := md5.New()
	for n := range len(p.have) {
		x := p.have[n]
		if x.md5 == "" || s3.PlainETag(x.etag) != x.md5 {
			return true
		}
		raw, _ := hex.DecodeString(x.md5)
		h.Write(raw)
	}
	suffix := fmt.Sprintf("-%d", len(p.have))
	got := strings.ToLower(strings.Trim(etag, `"`))
	return !strings.HasSuffix(got, suffix) || got == hex.EncodeToString(h.Sum(nil))+suffix
}

// Abort gives the parts up. It does not matter when that is done already.
func (p *parts) Abort(ctx context.Context) error {
	_, err := p.u.client.AbortMultipartUpload(ctx, &sdk.AbortMultipartUploadInput{Bucket: p.u.bucket, Key: &p.key, UploadId: &p.id})
	if err = p.u.b.Classify(ctx, "giving up the upload of "+p.up.Key, err); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
