// Package gcs writes the uploaded files to a bucket of Google Cloud Storage or
// of an emulator of it, as Open WebUI would have stored them: the name is the
// key, the content type that of the name. What all object stores have in common
// is in outgrow/sink/objects.
//
// # What the server verifies
//
// Every object is sent with its CRC32C, a small one with its MD5 as well; the
// server refuses it when they are not those of what has arrived.
//
// # Nothing is overwritten
//
// Without Replace an object is stored under the condition that there is none of
// its key (ifGenerationMatch=0), which the server keeps to.
//
// # Large objects
//
// A large object is sent by a resumable upload, in parts, one after the other: a
// file streamed, 16 to 64 MiB in a request, anything else in parts of 16 MiB.
// The last few bytes are held back until all sums are known to be right, because
// the request that brings them makes the object.
//
// Where an upload goes on is told by its server: at a URI which is known to
// nobody but who has begun it. So that a run can go on with what a killed one
// has sent, this URI is kept in a file of a private folder, of mode 0600, until
// the object is there. Who has it can send the content of just this one object,
// for a week, and needs no other credentials: the file is to be kept like a
// password, and its content is never shown. When all is copied no such file is
// left.
//
// # Emulators
//
// fake-gcs-server (1.56) differs from the service in three things that matter
// here. It takes the question how far an upload has got for its end, and makes
// an object of what it has; it verifies no digest of an upload that came in
// several parts; and it adds whatever a part brings, also for the second time.
// But it answers every part with the CRC32C of all it has. So with
// STORAGE_EMULATOR_HOST that digest is compared after every part, the last one
// is sent only when all before are right, and how far an upload has got is found
// out by the digest alone: it is that before or that after the part whose answer
// was lost, and both are kept in the file.
package gcs

import (
	"context"
	"strings"

	"outgrow/mappings/env"
	"outgrow/mappings/gcs"
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

// Open connects to the bucket and sees that it can be read; it changes nothing
// there. How far large uploads have got is kept in the folder state, which the
// next run has to be given again; "" keeps nothing, and they begin anew. Of
// more, what belongs to the store (Bucket, Uploader, Describe, Flat, Refuse) is
// filled in.
func Open(ctx context.Context, cfg env.GCSConfig, state string, more objects.Config) (*Sink, error) {
	b, err := gcs.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	up, err := NewUploader(b, state)
	if err != nil {
		return nil, err
	}
	more.Bucket, more.Uploader, more.Describe, more.Flat = b, up, gcs.Describe(cfg), true
	more.Refuse = func(key string) (pipeline.Reason, string) {
		// Source: Cloud Storage, "About Cloud Storage objects", requirements of
		// names. An emulator takes them.
		if cfg.Emulator == "" && strings.ContainsAny(key, "\r\n") {
			return pipeline.Invalid, "the name has a line break, which Google Cloud Storage does not take"
		}
		return "", ""
	}
	s, err := objects.Open(ctx, more)
	if err != nil {
		return nil, err
	}
	return &Sink{s, up}, nil
}
