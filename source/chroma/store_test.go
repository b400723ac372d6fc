package chroma

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outgrow/pipeline"
)

const stores = "../../testdata/chroma"

// unpack puts one of the small stores into a folder of the test and returns the
// folder with vector_db and expected.jsonl.
func unpack(tb testing.TB, name string) string {
	tb.Helper()
	f, err := os.Open(filepath.Join(stores, name+".tar.bz2"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	dir := tb.TempDir()
	for tr := tar.NewReader(bzip2.NewReader(f)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			tb.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Clean("/"+h.Name))
		if h.FileInfo().IsDir() {
			if err := os.MkdirAll(path, 0o755); err != nil {
				tb.Fatal(err)
			}
			continue
		}
		b, err := io.ReadAll(tr)
		if err == nil {
			err = os.WriteFile(path, b, 0o644)
		}
		if err == nil {
			err = os.Chtimes(path, h.ModTime, h.ModTime)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// want is a line of expected.jsonl.
type want struct {
	Tenant, Database, Collection, ID string
	Document                         *string
	Metadata                         json.RawMessage
	Vector                           *string // base64 of float32, little endian
	VectorSHA                        string  `json:"vector_sha256"` // or the head of its digest
}

func expected(tb testing.TB, path string) []want {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			tb.Fatal(err)
		}
	}
	var list []want
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		// Python's json spells infinity in a way that JSON has not; 1e999 is ours.
		line := bytes.ReplaceAll(sc.Bytes(), []byte(`: Infinity`), []byte(`: 1e999`))
		var w want
		if err := json.Unmarshal(line, &w); err != nil {
			tb.Fatal(err)
		}
		list = append(list, w)
	}
	if err := sc.Err(); err != nil || len(list) == 0 {
		tb.Fatal(err, len(list))
	}
	return list
}

func vectorBytes(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

// sameJSON compares metadata key by key with every literal as it is spelled, so
// that 3.0 is not 3.
func sameJSON(tb testing.TB, a, b json.RawMessage) bool {
	tb.Helper()
	decode := func(r json.RawMessage) map[string]any {
		m := map[string]any{}
		if len(r) == 0 || string(r) == "null" {
			return nil
		}
		d := json.NewDecoder(bytes.NewReader(r))
		d.UseNumber()
		if err := d.Decode(&m); err != nil {
			tb.Errorf("metadata %s: %v", r, err)
		}
		return m
	}
	return fmt.Sprintf("%#v", decode(a)) == fmt.Sprintf("%#v", decode(b))
}

func (w want) diff(tb testing.TB, v *pipeline.Vector) string {
	tb.Helper()
	if (w.Document == nil) != (v.Text == nil) || (v.Text != nil && *v.Text != *w.Document) {
		return "document"
	}
	if !sameJSON(tb, w.Metadata, v.Metadata) {
		return fmt.Sprintf("metadata %s, want %s", v.Metadata, w.Metadata)
	}
	b := vectorBytes(v.Embedding)
	switch {
	case w.Vector != nil:
		if base64.StdEncoding.EncodeToString(b) != *w.Vector {
			return "vector"
		}
	case w.VectorSHA != "":
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:8]) != w.VectorSHA {
			return "vector digest"
		}
	case v.Embedding != nil:
		return "a vector that should be lost"
	}
	return ""
}

func open(tb testing.TB, cfg Config) *Source {
	tb.Helper()
	if cfg.Private == "" {
		cfg.Private = tb.TempDir()
	}
	s, err := Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
		if left, err := os.ReadDir(cfg.Private); err != nil || len(left) > 0 {
			tb.Errorf("left behind: %v %v", left, err)
		}
	})
	return s
}

// unitOf names the unit of an expected record.
func unitOf(s *Source, w want) string {
	for name, l := range s.names(s.current) {
		if l.tenant == w.Tenant && l.database == w.Database && l.name == w.Collection {
			return name
		}
	}
	return "?"
}

// readAll reads every unit; lost records come with Embedding nil.
func readAll(ctx context.Context, s *Source) (map[string]*pipeline.Vector, error) {
	all := map[string]*pipeline.Vector{}
	units, err := s.Units(ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range units {
		n := int64(0)
		for b, err := range s.Read(ctx, pipeline.Part{Unit: u}, "") {
			if err != nil {
				return nil, err
			}
			for _, v := range b.Records {
				all[u.Name+"\x00"+v.ID] = v
			}
			for _, r := range b.Refused {
				v := &pipeline.Vector{}
				if err := json.Unmarshal(r.Record, v); err != nil || r.Reason != pipeline.NeedsEmbedding {
					return nil, fmt.Errorf("%s: %v %w", r.Key, r.Reason, err)
				}
				all[u.Name+"\x00"+v.ID] = v
			}
			n += int64(b.Read)
		}
		if have, err := s.Count(ctx, u); err != nil || have != n {
			return nil, fmt.Errorf("%s: Count %d, read %d, %w", u.Name, have, n, err)
		}
	}
	return all, nil
}

// compare checks a store against what is expected of it.
func compare(t *testing.T, s *Source, list []want) {
	t.Helper()
	all, err := readAll(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != len(list) {
		t.Errorf("%d records, want %d", len(all), len(list))
	}
	bad := 0
	for _, w := range list {
		v := all[unitOf(s, w)+"\x00"+w.ID]
		if v == nil {
			t.Errorf("%s %s is missing", w.Collection, w.ID)
			bad++
		} else if d := w.diff(t, v); d != "" {
			t.Errorf("%s %s: %s", w.Collection, w.ID, d)
			bad++
		}
		if bad > 10 {
			t.Fatal("and more")
		}
	}
}

// fingerprint is names, sizes, modes, mtimes and SHA-256 of everything in a folder.
func fingerprint(tb testing.TB, dir string) string {
	tb.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(h, path, st.Size(), st.Mode(), st.ModTime().UnixNano())
		if d.IsDir() {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(h, f)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}
