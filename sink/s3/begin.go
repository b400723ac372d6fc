package s3

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"outgrow/mappings/objects"
	"outgrow/mappings/s3"
)

// Begin finds the upload of this very key that an earlier run has left, with its
// parts, or begins one. Every other unfinished upload of the key is given up.
func (u *Uploader) Begin(ctx context.Context, up objects.Upload) (objects.Parts, error) {
	key := u.b.Key(up.Key)
	left, err := u.unfinished(ctx, key)
	if err != nil {
		return nil, err
	}
	left = slices.DeleteFunc(left, func(m types.MultipartUpload) bool { return aws.ToString(m.Key) != key })
	slices.SortFunc(left, func(a, b types.MultipartUpload) int { // the newest first
		return cmp.Or(aws.ToTime(b.Initiated).Compare(aws.ToTime(a.Initiated)), cmp.Compare(aws.ToString(a.UploadId), aws.ToString(b.UploadId)))
	})
	var found *parts
	for _, m := range left {
		p := &parts{u: u, up: up, key: key, id: aws.ToString(m.UploadId), full: true}
		if found == nil && !u.plain {
			ours, err := p.find(ctx)
			if err != nil {
				return nil, err
			}
			if ours {
				found = p
				continue
			}
		}
		if err := p.Abort(ctx); err != nil {
			return nil, err
		}
	}
	if found != nil {
		return found, nil
	}
	return u.create(ctx, up, key)
}

// unfinished lists the uploads of all keys that begin so. A server that cannot
// list them has none that could be resumed.
func (u *Uploader) unfinished(ctx context.Context, prefix string) (all []types.MultipartUpload, err error) {
	in := &sdk.ListMultipartUploadsInput{Bucket: u.bucket, Prefix: &prefix, EncodingType: types.EncodingTypeUrl}
	for {
		page, err := u.client.ListMultipartUploads(ctx, in)
		if s3.Status(err) == http.StatusNotImplemented {
			return nil, nil
		}
		if err != nil {
			return nil, u.b.Classify(ctx, "listing the unfinished uploads", err)
		}
		for _, m := range page.Uploads {
			key, err := s3.Decode(aws.ToString(m.Key), page.EncodingType)
			if err != nil {
				return nil, err
			}
			m.Key = &key
			all = append(all, m)
		}
		if !aws.ToBool(page.IsTruncated) {
			return all, nil
		}
		next, err := s3.Decode(aws.ToString(page.NextKeyMarker), page.EncodingType)
		if err != nil {
			return nil, err
		}
		in.KeyMarker, in.UploadIdMarker = &next, page.NextUploadIdMarker
	}
}

// Unfinished counts the multipart uploads below the prefix that were begun and
// neither completed nor aborted.
func (u *Uploader) Unfinished(ctx context.Context) (int, error) {
	all, err := u.unfinished(ctx, u.b.Key(""))
	return len(all), err
}

// create begins an upload, with the checksum of the whole where the server knows
// that.
func (u *Uploader) create(ctx context.Context, up objects.Upload, key string) (*parts, error) {
	in := &sdk.CreateMultipartUploadInput{Bucket: u.bucket, Key: &key, ContentType: aws.String(contentType), Tagging: tagging(up)}
	if !u.plain {
		in.ChecksumAlgorithm, in.ChecksumType = types.ChecksumAlgorithmCrc32c, types.ChecksumTypeFullObject
	}
	out, err := u.client.CreateMultipartUpload(ctx, in)
	if status := s3.Status(err); !u.plain && (status == http.StatusBadRequest || status == http.StatusNotImplemented) {
		in.ChecksumAlgorithm, in.ChecksumType = "", ""
		out, err = u.client.CreateMultipartUpload(ctx, in)
	}
	if err != nil {
		return nil, u.b.Classify(ctx, "beginning the upload of "+up.Key, err)
	}
	return &parts{u: u, up: up, key: key, id: aws.ToString(out.UploadId), have: map[int]part{},
		full: out.ChecksumAlgorithm == types.ChecksumAlgorithmCrc32c && out.ChecksumType == types.ChecksumTypeFullObject,
		each: out.ChecksumAlgorithm == types.ChecksumAlgorithmCrc32c}, nil
}

// find asks for the parts of an upload; ours is false when it is not one that
// create begins.
func (p *parts) find(ctx context.Context) (ours bool, err error) {
	p.have = map[int]part{}
	pages := sdk.NewListPartsPaginator(p.u.client, &sdk.ListPartsInput{Bucket: p.u.bucket, Key: &p.key, UploadId: &p.id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			err = p.u.b.Classify(ctx, "listing the parts of "+p.up.Key, err)
			if errors.Is(err, fs.ErrNotExist) { // given up meanwhile
				return false, nil
			}
			return false, err
		}
		if page.ChecksumAlgorithm != types.ChecksumAlgorithmCrc32c || page.ChecksumType != types.ChecksumTypeFullObject {
			return false, nil
		}
		p.each = true
		for _, x := range page.Parts {
			if x.ChecksumCRC32C != nil {
				p.have[int(aws.ToInt32(x.PartNumber))-1] = part{etag: aws.ToString(x.ETag), crc32c: *x.ChecksumCRC32C, bytes: aws.ToInt64(x.Size)}
			}
		}
	}
	return p.each, nil
}
