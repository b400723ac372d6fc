package chroma

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/chromahttp"
	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/chroma"
)

func open(tb testing.TB, cfg Config) *Sink {
	tb.Helper()
	s, err := Open(context.Background(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// openReader opens the reader of the store as far as it is.
func openReader(tb testing.TB, dir string) *reader.Source {
	tb.Helper()
	if _, err := os.Stat(filepath.Join(dir, fileSQLite)); err != nil {
		dir = filepath.Join(dir, partialDir)
	}
	s, err := reader.Open(context.Background(), reader.Config{Dir: dir, AllowMissing: true, Private: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func unit(name string, dim int) pipeline.Unit {
	return pipeline.Unit{Lane: pipeline.Vectors, Name: name, Dim: dim}
}

func batch(u pipeline.Unit, records ...*pipeline.Vector) pipeline.Batch[*pipeline.Vector] {
	return pipeline.Batch[*pipeline.Vector]{Part: pipeline.Part{Unit: u}, Next: "n", Records: records}
}

func vector(id, text, metadata string, elements ...float32) *pipeline.Vector {
	v := &pipeline.Vector{ID: id, Text: &text, Embedding: elements}
	if metadata != "" {
		v.Metadata = []byte(metadata)
	}
	return v
}

// corpus fills collections with n records in all, of dim elements, by id.
func corpus(n, dim int, seed uint64) []pipetest.Expected[*pipeline.Vector] {
	r := rand.New(rand.NewPCG(seed, 0))
	var out []pipetest.Expected[*pipeline.Vector]
	for _, name := range []string{"file-0c", "1f0e", "user-memory-7", "knowledge-bases", "a.b_C"} {
		out = append(out, pipetest.Expected[*pipeline.Vector]{Unit: unit(name, dim)})
	}
	for i := range n {
		v := vector(fmt.Sprintf("%08x-%04x ж", r.Uint32(), i), fmt.Sprintf("Stück %d of a document, 日本語 😀 \t\"quoted\" \\ <b> \x00 end", i),
			fmt.Sprintf(`{"file_id":"f%d","page":%d,"score":%d.0,"tiny":%g,"big":%d,"flag":true,"uni":"\u05e9 é\u0000","empty":"","list":["a","b%d"],"<k>":[%d,2]}`,
				i%4, i, i, 4.25e-07*float64(i)+1e-9, int64(1)<<60+int64(i), i, i))
		if i%9 == 4 {
			v.Metadata = nil
		}
		if i%9 == 5 {
			*v.Text = ""
		}
		for range dim {
			v.Embedding = append(v.Embedding, float32(r.NormFloat64()*0.05))
		}
		e := &out[i%len(out)]
		e.Records = append(e.Records, v)
		e.Unit.Records++
	}
	for _, e := range out {
		slices.SortFunc(e.Records, func(a, b *pipeline.Vector) int { return strings.Compare(a.ID, b.ID) })
	}
	return out
}

// large is a corpus of 200 records with n more in its first collection.
func large(n, dim int, seed uint64) []pipetest.Expected[*pipeline.Vector] {
	out := corpus(200, dim, seed)
	for _, e := range corpus(n, dim, seed+1) {
		out[0].Records = append(out[0].Records, e.Records...)
	}
	slices.SortFunc(out[0].Records, func(a, b *pipeline.Vector) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// same compares as verify does, and vectors bit by bit: nothing has opened the
// store since.
func same(want, got *pipeline.Vector) bool {
	fields, err := chromahttp.Compare(env.ChromaConfig{})(context.Background(), pipeline.Unit{}, want, got)
	return err == nil && len(fields) == 0 && fmt.Sprint(want.Embedding) == fmt.Sprint(got.Embedding)
}

// fill copies the corpus to a store, in the order of its ids, and finishes it.
func fill(tb testing.TB, cfg Config, corpus []pipetest.Expected[*pipeline.Vector]) {
	tb.Helper()
	if cfg.Journal == nil {
		cfg.Journal = (&pipetest.MemoryState{}).Open()
	}
	if _, err := cfg.Journal.Begin(tb.Context(), pipeline.Run{ID: "t"}); err != nil {
		tb.Fatal(err)
	}
	s := open(tb, cfg)
	err := pipeline.Copy(tb.Context(), pipeline.Job[*pipeline.Vector]{Source: pipetest.NewMemory(pipeline.Limits{Records: 500}, corpus...), Sink: s, Journal: cfg.Journal,
		Transforms: []pipeline.Transform[*pipeline.Vector]{chromahttp.Transform(cfg.Store)}, Workers: 1})
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
}

// unpack unpacks one of the small real stores.
func unpack(tb testing.TB, from, to string) {
	tb.Helper()
	f, err := os.Open(from)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	for tr := tar.NewReader(bzip2.NewReader(f)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		name := filepath.Join(to, filepath.Clean("/"+h.Name))
		if err == nil && h.FileInfo().IsDir() {
			err = os.MkdirAll(name, 0o755)
		} else if err == nil {
			var b []byte
			if b, err = io.ReadAll(tr); err == nil {
				err = os.WriteFile(name, b, 0o644)
			}
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// dumped is what dump.py prints of a collection.
type dumped struct {
	Where, Name string
	Metadata    json.RawMessage
	Config      json.RawMessage
	Count       int
	IDs         []string `json:"ids"`
	Documents   []*string
	Metadatas   []json.RawMessage
	Vectors     []string
	Queries     []struct {
		IDs       []string `json:"ids"`
		Distances []float64
	}
	Filters [][]string
	Lost    string
}

// chromadb runs dump.py.
func chromadb(tb testing.TB, python string, input []byte, args ...string) []byte {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), python, append([]string{filepath.Join("testdata", "dump.py")}, args...)...)
	cmd.Stdin = bytes.NewReader(input)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		tb.Fatalf("dump.py %q: %v\n%s", args, err, said.Bytes()[max(0, said.Len()-3000):])
	}
	return out.Bytes()
}

func dump(tb testing.TB, python, dir string, where ...string) []dumped {
	tb.Helper()
	var all []dumped
	for line := range bytes.Lines(chromadb(tb, python, nil, append([]string{dir}, where...)...)) {
		var d dumped
		// Python's json spells what JSON has not; 1e999 is the reader's way.
		for from, to := range map[string]string{": Infinity": ": 1e999", ": -Infinity": ": -1e999", ": NaN": ": null"} {
			line = bytes.ReplaceAll(line, []byte(from), []byte(to))
		}
		if err := json.Unmarshal(line, &d); err != nil {
			tb.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}
