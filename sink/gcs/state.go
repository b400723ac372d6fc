package gcs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

// state is the folder in which unfinished uploads are remembered, one file for
// each; "" remembers none.
type state string

const (
	suffix = ".upload"
	// forgotten is when no server knows an upload any more: GCS keeps it for a
	// week.
	forgotten = 8 * 24 * time.Hour
	version   = 1
)

// remembered is what a file holds. The session's URI is a secret.
type remembered struct {
	Version int    `json:"version"`
	Session string `json:"session"`
	At      mark   `json:"at"`
	Next    mark   `json:"next"`
}

// uri is where the upload goes on: an emulator may be reached by another address
// by now.
func (r *remembered) uri(u *Uploader) string {
	if at, err := url.Parse(r.Session); err == nil && u.emulated() && at.Query().Get("upload_id") != "" {
		return u.resumed(at.Query().Get("upload_id"))
	}
	return r.Session
}

// open makes the folder, and removes what is of no use any more.
func (s state) open() error {
	if s == "" {
		return nil
	}
	if err := os.MkdirAll(string(s), 0o700); err != nil {
		return unkept(err)
	}
	files, err := s.files()
	if err != nil {
		return unkept(err)
	}
	for _, f := range files {
		if info, err := os.Lstat(f); err == nil && time.Since(info.ModTime()) > forgotten {
			s.remove(f)
		}
	}
	return nil
}

// files lists what is remembered, and what a crash has left of it.
func (s state) files() (files []string, err error) {
	if s == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(string(s))
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) || strings.HasSuffix(e.Name(), suffix+".new") {
			files = append(files, filepath.Join(string(s), e.Name()))
		}
	}
	return files, err
}

func unkept(err error) error {
	return pipeline.Environment("remembering unfinished uploads", err, "make room in the folder of the state, and let this user write there")
}

// file names the file of an upload: of this very content, to this very place.
func (s state) file(u *Uploader, up objects.Upload) string {
	if s == "" || up.Sums.CRC32C == "" {
		return ""
	}
	id, err := json.Marshal([]any{u.emulated(), u.b.Config().Bucket, up.Key, up.Bytes, up.Sums.CRC32C, up.Replace})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(id)
	return filepath.Join(string(s), hex.EncodeToString(sum[:16])+suffix)
}

// load gives what is remembered; nil for nothing, and for what cannot be read.
func (s state) load(file string) (*remembered, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unkept(err)
	}
	var r remembered
	if err := json.Unmarshal(text, &r); err != nil || r.Version != version || r.Session == "" {
		return nil, nil
	}
	return &r, nil
}

// save is durable when it returns.
func (s state) save(file string, r remembered) error {
	if file == "" {
		return nil
	}
	r.Version = version
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := replace(file, text); err != nil {
		return unkept(err)
	}
	return nil
}

// replace writes a file that only this user may read, whole or not at all.
func replace(file string, text []byte) error {
	next := file + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(next, file)
	}
	if err != nil {
		_ = os.Remove(next)
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// remove forgets an upload. When that fails, the server tells the next run that
// it does not know it.
func (s state) remove(file string) {
	if file != "" {
		_ = os.Remove(file)
	}
}
