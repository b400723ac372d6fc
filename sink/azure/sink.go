// Package azure writes the uploaded files to a container of Azure Blob Storage
// or of an emulator of it, as Open WebUI would have stored them: the name is the
// key, a block blob of the type application/octet-stream. What all object stores
// have in common is in outgrow/sink/objects.
//
// # What the server verifies
//
// A small object comes in one request with its MD5: the server refuses it when
// that is not the MD5 of what has arrived, and keeps it.
//
// A large object comes in blocks, each with its MD5, which the server verifies
// in the same way. At the end it is told by their ids which blocks make the
// object; it does not look at the content again, and takes the MD5 of the whole
// as it is given. So it is known here, and not there, that the whole is right:
// the id of a block says its number, length and CRC32C, and before the list of
// ids is sent the lengths have to add up to the object's, and the CRC32Cs of the
// blocks, in that order, to the CRC32C of the content that was read.
//
// # Nothing is overwritten
//
// Without Replace an object is stored under the condition that there is none of
// its name (If-None-Match), which the server keeps to.
//
// # What a killed run leaves
//
// Blocks wait at the server, unseen, until they are made an object of. The next
// run asks for those of the name, and knows by the ids which it need not send:
// nothing is kept here. Once the object is made, the server drops all others.
//
// There is no request that only drops blocks. What was given up, or would have
// been an object of a name that was taken meanwhile, is dropped by Azure a week
// after the last block of that name.
//
// All waiting blocks of one name have ids of one length, whoever has sent them.
// Where another program's wait, the ids here get that length; only when it is
// shorter than 16 bytes the object cannot be sent.
//
// # Names
//
// Azure itself (not an emulator) drops the dots at the end of a name and takes
// no control characters: such names are refused. See outgrow/mappings/azure for
// the backslash.
package azure

import (
	"context"
	"strings"
	"unicode"

	"outgrow/mappings/azure"
	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/sink/objects"
)

// Sink writes to a container.
type Sink struct {
	*objects.Sink
	b *azure.Bucket
}

var (
	_ pipeline.Sink[*pipeline.Object] = (*Sink)(nil)
	_ pipeline.Checker                = (*Sink)(nil)
)

// Open connects to the container and sees that it can be read; it changes
// nothing. Of more, what belongs to the store (Bucket, Uploader, Describe, Flat,
// Refuse) is filled in, and there are no Tags.
func Open(ctx context.Context, cfg env.AzureConfig, more objects.Config) (*Sink, error) {
	b, err := azure.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	more.Bucket, more.Uploader, more.Describe, more.Flat, more.Tags = b, NewUploader(b), azure.Describe(cfg), true, nil
	if !azure.Emulated(cfg) {
		more.Refuse = refuse
	}
	s, err := objects.Open(ctx, more)
	if err != nil {
		return nil, err
	}
	return &Sink{s, b}, nil
}

// refuse says which names Azure does not keep. Sources: REST reference, "Naming
// and referencing containers, blobs, and metadata"; the dots are seen to be
// dropped in Azure/azure-storage-ruby#191.
func refuse(key string) (pipeline.Reason, string) {
	switch {
	case strings.HasSuffix(key, "."):
		return pipeline.Invalid, "the name ends with a dot, which Azure Blob Storage drops"
	case strings.ContainsFunc(key, unicode.IsControl):
		return pipeline.Invalid, "the name has a control character, which Azure Blob Storage does not take"
	}
	return "", ""
}

// Unfinished counts the names for which blocks wait and no object is there, by
// whomever.
func (s *Sink) Unfinished(ctx context.Context) (int, error) { return s.b.Unfinished(ctx) }
