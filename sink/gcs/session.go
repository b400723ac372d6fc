package gcs

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"outgrow/mappings/gcs"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

// session is a resumable upload of so many bytes. Its URI is a secret. Source:
// Cloud Storage, "Perform resumable uploads", JSON API.
type session struct {
	u     *Uploader
	uri   string
	bytes int64
}

// progress is what the server says of an upload.
type progress struct {
	bytes int64       // it has so many
	made  *gcs.Object // and has made the object, not nil
	crc   *uint32     // the CRC32C of what it has, where it tells
}

var errAnswer = errors.New("the server's answer about the upload makes no sense")

// start begins an upload.
func (u *Uploader) start(ctx context.Context, up objects.Upload) (*session, error) {
	op := "beginning the upload of " + up.Key
	meta, err := metadata(up)
	if err != nil {
		return nil, &pipeline.Error{Op: op, Err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.address(up, "resumable"), bytes.NewReader(meta))
	if err != nil {
		return nil, &pipeline.Error{Op: op, Err: err}
	}
	req.Header.Set("Content-Type", "application/json; charset=UTF-8")
	req.Header.Set("X-Upload-Content-Type", contentType(up.Key))
	req.Header.Set("X-Upload-Content-Length", strconv.FormatInt(up.Bytes, 10))
	_, header, err := u.b.Do(req, nil)
	if err != nil {
		return nil, u.refused(ctx, op, up.Key, err)
	}
	uri := u.located(header.Get("Location"))
	if uri == "" {
		return nil, &pipeline.Error{Op: op, Err: errAnswer}
	}
	return &session{u: u, uri: uri, bytes: up.Bytes}, nil
}

// located is the URI of an upload. An emulator may know itself by another name
// than it is reached by.
func (u *Uploader) located(location string) string {
	at, err := url.Parse(location)
	if err != nil {
		return ""
	}
	if ids := at.Query()["upload_id"]; u.emulated() && len(ids) > 0 {
		return u.resumed(ids[len(ids)-1])
	}
	return location
}

func (u *Uploader) resumed(id string) string {
	return u.folder() + "?" + url.Values{"uploadType": {"resumable"}, "upload_id": {id}}.Encode()
}

// emulated reports whether the server is no Google's.
func (u *Uploader) emulated() bool { return u.b.Config().Emulator != "" }

// send sends the bytes from an offset on. Errors are the client's own.
func (s *session) send(ctx context.Context, from int64, body *io.SectionReader) (progress, error) {
	return s.put(ctx, fmt.Sprintf("bytes %d-%d/%d", from, from+body.Size()-1, s.bytes), body)
}

// status asks how far the upload has got.
func (s *session) status(ctx context.Context) (progress, error) {
	if s.u.emulated() {
		// No bytes at a place in the middle: what it has stays as it is, and the
		// digest of it is told.
		return s.put(ctx, fmt.Sprintf("bytes 0-0/%d", s.bytes), nil)
	}
	return s.put(ctx, fmt.Sprintf("bytes */%d", s.bytes), nil)
}

// put sends a request about the upload; body nil is none.
func (s *session) put(ctx context.Context, contentRange string, body *io.SectionReader) (progress, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.uri, nil)
	if err != nil {
		return progress{}, errAnswer // that URI is not told
	}
	if body != nil && body.Size() > 0 {
		again := func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(body, 0, body.Size())), nil }
		req.Body, _ = again()
		req.GetBody, req.ContentLength = again, body.Size()
	}
	req.Header.Set("Content-Range", contentRange)
	made := &gcs.Object{}
	status, header, err := s.u.b.Do(req, made)
	switch {
	case err != nil:
		return progress{}, err
	case status != http.StatusPermanentRedirect:
		return progress{bytes: s.bytes, made: made}, nil
	}
	p := progress{}
	if s.u.emulated() {
		p.crc = number(made.CRC32C)
	}
	if p.bytes, err = committed(header.Get("Range")); err != nil || p.bytes > s.bytes {
		return progress{}, errAnswer
	}
	return p, nil
}

// committed reads the header Range of an unfinished upload: how many bytes the
// server has.
func committed(header string) (int64, error) {
	if header == "" {
		return 0, nil
	}
	last, ok := strings.CutPrefix(header, "bytes=0-")
	if !ok {
		return 0, errAnswer
	}
	n, err := strconv.ParseInt(last, 10, 63)
	if err != nil || n < 0 {
		return 0, errAnswer
	}
	return n + 1, nil
}

// number reads a CRC32C as GCS spells it; nil when it is none.
func number(crc string) *uint32 {
	b, err := base64.StdEncoding.DecodeString(crc)
	if err != nil || len(b) != 4 {
		return nil
	}
	return new(binary.BigEndian.Uint32(b))
}

// end gives the upload up. GCS answers 499.
func (s *session) end(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, s.uri, nil)
	if err != nil {
		return errAnswer
	}
	if _, _, err = s.u.b.Do(req, nil); err != nil && gcs.Status(err) != 499 && !lost(err) {
		return err
	}
	return nil
}

// lost reports whether the server does not know the upload, or cannot go on
// with it. Source: Cloud Storage, "Resumable uploads", status codes.
func lost(err error) bool {
	switch gcs.Status(err) {
	case http.StatusNotFound, http.StatusGone, http.StatusBadRequest:
		return true
	}
	return false
}
