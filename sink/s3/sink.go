// Package s3 writes the uploaded files to a bucket of S3 or of a server that
// speaks its protocol, as Open WebUI would have stored them: the same key, the
// same content type, and tags where it tags. What all object stores have in
// common is in outgrow/sink/objects.
//
// # What the server verifies
//
// Every request carries the CRC32C of what it brings, a small object its MD5 as
// well, and the completion of a large one the CRC32C of the whole (type
// FULL_OBJECT), which the server then keeps: so any later comparison needs no
// reading. A server that does not know this kind of checksum gets parts with
// their MD5, and the ETag of the whole is compared with that of the parts; such
// an upload begins anew after a crash.
//
// # Nothing is overwritten
//
// Without Replace an object is stored under the condition that there is none of
// its key (If-None-Match). Amazon keeps to that. Of any other server it is
// found out: the first object that is stored is sent twice, and a server that
// takes it twice does not know the condition; before each object it is then
// asked whether there is one, which leaves another writer a moment to come
// between.
package s3

import (
	"context"
	"fmt"

	"outgrow/mappings/env"
	"outgrow/mappings/s3"
	"outgrow/pipeline"
	"outgrow/sink/objects"
)

// Sink writes to a bucket.
type Sink struct {
	*objects.Sink
	up *Uploader
}

var (
	_ pipeline.Sink[*pipeline.Object] = (*Sink)(nil)
	_ pipeline.Checker                = (*Sink)(nil)
)

// Open connects to the bucket and sees that it can be read; it changes nothing.
// Of more, what belongs to the store (Bucket, Uploader, Describe, Refuse) is
// filled in; Tags counts only when S3_ENABLE_TAGGING is set.
func Open(ctx context.Context, cfg env.S3Config, more objects.Config) (*Sink, error) {
	b, err := s3.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	up := NewUploader(b)
	more.Bucket, more.Uploader, more.Describe = b, up, s3.Describe(cfg)
	more.Refuse = func(key string) (pipeline.Reason, string) {
		if n := len(b.Key(key)); n > s3.MaxKey {
			return pipeline.TooLong, fmt.Sprintf("the key has %d bytes with its prefix, more than %d", n, s3.MaxKey)
		}
		return "", ""
	}
	if !cfg.Tagging {
		more.Tags = nil
	}
	s, err := objects.Open(ctx, more)
	if err != nil {
		return nil, err
	}
	return &Sink{s, up}, nil
}

// Unfinished counts the multipart uploads below the prefix that were begun and
// neither completed nor aborted, by whomever.
func (s *Sink) Unfinished(ctx context.Context) (int, error) { return s.up.Unfinished(ctx) }
