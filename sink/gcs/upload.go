package gcs

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"

	"outgrow/mappings/gcs"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

const (
	leastPart = 16 << 20
	mostSpan  = 64 << 20
	// quantum divides the size of every part but the last. Source: Cloud
	// Storage, "Resumable uploads", chunk size.
	quantum = 256 << 10
)

// span is how much of a file of so many bytes is streamed in one request: a
// sixteenth, 16 to 64 MiB. The more the fewer round trips; the service keeps what
// has arrived of one that breaks off, an emulator nothing.
func span(n int64) int64 {
	return min(max((n/16+quantum-1)/quantum*quantum, leastPart), mostSpan)
}

// Uploader stores objects in a bucket. It is safe for concurrent use.
type Uploader struct {
	b     *gcs.Bucket
	state state
	part  int64 // tests: the size of a part
	span  func(int64) int64
}

var (
	_ objects.Uploader = (*Uploader)(nil)
	_ objects.Verifier = (*Uploader)(nil)
)

// NewUploader writes to a bucket that is open. How far large uploads have got is
// kept in the folder; "" for nowhere.
func NewUploader(b *gcs.Bucket, folder string) (*Uploader, error) {
	s := state(folder)
	if err := s.open(); err != nil {
		return nil, err
	}
	return &Uploader{b: b, state: s, part: leastPart, span: span}, nil
}

// PartSize is the same for all objects: GCS does not limit the number of parts.
func (u *Uploader) PartSize(int64) int64 { return u.part }

// Needs reports that the CRC32C is sent before the content.
func (u *Uploader) Needs() (crc32c, md5 bool) { return true, false }

// Verifies reports that an object of parts is verified by CRC32C.
func (u *Uploader) Verifies() objects.Algorithms { return objects.CRC32C }

// Put stores a small object.
func (u *Uploader) Put(ctx context.Context, up objects.Upload, body []byte) error {
	op := "storing " + up.Key
	meta, err := metadata(up)
	if err != nil {
		return &pipeline.Error{Op: op, Err: err}
	}
	head, tail, kind, err := related(meta, contentType(up.Key))
	if err != nil {
		return &pipeline.Error{Op: op, Err: err}
	}
	content := func() io.Reader {
		return io.MultiReader(bytes.NewReader(head), bytes.NewReader(body), bytes.NewReader(tail))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.address(up, "multipart"), content())
	if err != nil {
		return &pipeline.Error{Op: op, Err: err}
	}
	req.ContentLength = int64(len(head) + len(body) + len(tail))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(content()), nil }
	req.Header.Set("Content-Type", kind)
	var made gcs.Object
	if _, _, err := u.b.Do(req, &made); err != nil {
		return u.refused(ctx, op, up.Key, err)
	}
	return u.verify(ctx, op, up, &made)
}

// metadata is what the server is told of an object.
func metadata(up objects.Upload) ([]byte, error) {
	crc, err := spell(up.Sums.CRC32C)
	if err != nil {
		return nil, err
	}
	md5, err := spell(up.Sums.MD5)
	if err != nil {
		return nil, err
	}
	return json.Marshal(&gcs.Object{ContentType: contentType(up.Key), CRC32C: crc, MD5: md5})
}

// related is what stands before and after the content of an upload in one
// request, and what it is together.
func related(meta []byte, contentType string) (head, tail []byte, kind string, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	p, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/json; charset=UTF-8"}})
	if err == nil {
		_, err = p.Write(meta)
	}
	if err == nil {
		_, err = w.CreatePart(textproto.MIMEHeader{"Content-Type": {contentType}})
	}
	n := b.Len()
	if err == nil {
		err = w.Close()
	}
	return b.Bytes()[:n], b.Bytes()[n:], "multipart/related; boundary=" + w.Boundary(), err
}

// address is where an upload goes or begins.
func (u *Uploader) address(up objects.Upload, kind string) string {
	q := url.Values{"uploadType": {kind}, "name": {up.Key}}
	if !up.Replace {
		q.Set("ifGenerationMatch", "0")
	}
	return u.folder() + "?" + q.Encode()
}

func (u *Uploader) folder() string {
	return u.b.Endpoint() + "/upload/storage/v1/b/" + url.PathEscape(u.b.Config().Bucket) + "/o"
}

// refused is why an object was not stored.
func (u *Uploader) refused(ctx context.Context, op, key string, err error) error {
	if gcs.Status(err) == http.StatusPreconditionFailed {
		return fmt.Errorf("storing %s: %w", key, objects.ErrTaken)
	}
	return u.b.ClassifyUpload(ctx, op, err)
}

// verify compares what was made with what was sent, for a server that has not
// done so. What is not the same is removed.
func (u *Uploader) verify(ctx context.Context, op string, up objects.Upload, made *gcs.Object) error {
	want, err := spell(up.Sums.CRC32C)
	if err != nil || made.Size == up.Bytes && (made.CRC32C == want || made.CRC32C == "") {
		return err
	}
	if err := u.discard(ctx, up.Key, made.Generation); err != nil {
		return err
	}
	return &pipeline.Error{Op: op, Err: pipeline.Transient(objects.ErrDigest)}
}

// spell spells a hexadecimal digest in Base64, as GCS does; "" for none.
func spell(digest string) (string, error) {
	b, err := hex.DecodeString(digest)
	if err != nil {
		return "", fmt.Errorf("reading the digest %q: %w", digest, err)
	}
	return base64.StdEncoding.EncodeToString(b), nil
}
