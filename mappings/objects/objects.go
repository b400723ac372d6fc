package objects

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// Sums are digests of a whole content, lower-case hexadecimal; "" where it is
// not known without reading it.
type Sums struct {
	CRC32C string // Castagnoli, big endian, 8 digits
	MD5    string
	SHA256 string
}

// Info is what a store tells of an object without its content.
type Info struct {
	Key     string
	Bytes   int64
	ModTime time.Time
	Sums    Sums
	// Version names this content (ETag, generation): a read that is cut off
	// goes on only in the same one. "" where the store has none.
	Version string
}

var (
	// ErrTaken is what an upload ends with when the key has an object already.
	ErrTaken = errors.New("the target has an object of this name")
	// ErrChanged is what a read ends with when the object was replaced
	// meanwhile.
	ErrChanged = errors.New("the object was replaced while it was read")
	// ErrDigest is what a transfer ends with when the content is not that of
	// its digest; it is worth another try.
	ErrDigest = errors.New("what arrived is not what was sent: the digests differ")
	// ErrName is what a request ends with whose key the store never takes.
	ErrName = errors.New("the store does not take this name")
)

// Bucket reads a deployment's part of a bucket or container. It is safe for
// concurrent use. Errors say by [pipeline.Transient] whether another try may
// help; what cannot be reached, or refuses the credentials, is a
// [pipeline.Environment] error that names the variable to look at.
type Bucket interface {
	// List gives every object below the prefix, in any order. Sums that the
	// store does not list are "".
	List(ctx context.Context) iter.Seq2[Info, error]
	// Head gives one object with all the sums that the store keeps; the error
	// wraps fs.ErrNotExist when there is none.
	Head(ctx context.Context, key string) (Info, error)
	// Open gives the content from that byte on, of the very Version that was
	// listed; the error wraps ErrChanged when it is another one by now, and
	// fs.ErrNotExist when it is gone.
	Open(ctx context.Context, info Info, from int64) (io.ReadCloser, error)
}

// Summed is what a content that a [Bucket] opened may be, too: one whose answer
// told the digests of the whole object, which a listing does not know (S3).
type Summed interface {
	Sums() Sums
}

// Upload says what is to be stored.
type Upload struct {
	Key   string
	Bytes int64
	// ModTime is that of the source, zero when it has none.
	ModTime time.Time
	// Replace overwrites an object of that key; without it ErrTaken is
	// returned, and the object that is there stays as it is.
	Replace bool
	// Tags are stored with the object where the store can (S3); nil for none.
	Tags map[string]string
	// Sums of the whole content, as far as they are known.
	Sums Sums
}

// Uploader writes to a deployment's part of a bucket. It is safe for concurrent
// use; its errors are classified as those of a [Bucket].
type Uploader interface {
	// Put stores a small object in one request. CRC32C and MD5 in up.Sums are
	// set; the one that the store can verify is sent along, so what is stored
	// is what was sent.
	Put(ctx context.Context, up Upload, body []byte) error
	// PartSize is the size of the parts that an object of so many bytes is
	// sent in; an object of at most that size is Put.
	PartSize(bytes int64) int64
	// Needs reports which sums Begin has to be told beforehand.
	Needs() (crc32c, md5 bool)
	// Begin begins the upload of a larger object, or finds the one that an
	// earlier run has left.
	Begin(ctx context.Context, up Upload) (Parts, error)
}

// Verifier is an Uploader that says by which of CRC32C and MD5 Parts.Complete
// verifies, so that no other is computed: MD5 of a large object takes longer
// than all else here. An Uploader that is none is told both.
type Verifier interface {
	Verifies() Algorithms
}

// Deleter is an Uploader that removes objects; one that is not there is no error.
type Deleter interface {
	Delete(ctx context.Context, key string) error
}

// Parts is an object on its way, cut into parts of PartSize.
type Parts interface {
	// Has reports whether part n (from 0) of that content was stored by an
	// earlier run.
	Has(n int, bytes int64, crc32c uint32) bool
	// Parallel reports whether parts may be sent at the same time, in any
	// order; else they come one after the other.
	Parallel() bool
	// Put stores one part, verified by the store.
	Put(ctx context.Context, n int, body []byte, crc32c uint32) error
	// Complete makes the object of its parts, verified by the store against
	// the sums, under the condition that Upload.Replace says. CRC32C is set,
	// and MD5 too unless the Uploader is a Verifier without it.
	// ErrTaken leaves nothing behind.
	Complete(ctx context.Context, sums Sums) error
	// Abort gives the parts up.
	Abort(ctx context.Context) error
}

// Streamer is Parts that take a content from where it can be read at any place
// and again (a file), so that nothing of it is held in memory and a request may
// be larger than a part.
type Streamer interface {
	Parts
	// Span is how much is sent in one request.
	Span() int64
	// Stream stores the bytes between two offsets, at most Span of them. They come
	// in order, from the first on; those that an earlier run has stored are not
	// sent again. When it fails nothing is lost of what the store has got.
	Stream(ctx context.Context, content io.ReaderAt, from, to int64) error
}
