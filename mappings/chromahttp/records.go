package chromahttp

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"outgrow/pipeline"
)

// records is a part of the answer to get: columns of the same length.
type records struct {
	IDs        []string          `json:"ids"`
	Embeddings []*elements       `json:"embeddings"`
	Documents  []*string         `json:"documents"`
	Metadatas  []json.RawMessage `json:"metadatas"`
}

// elements are float32 numbers in their shortest decimal form.
type elements []float32

// UnmarshalJSON reads [1.5,2,…]; an element that is null (the server's spelling
// of NaN) becomes NaN.
func (e *elements) UnmarshalJSON(raw []byte) error {
	raw = trim(raw)
	out := make([]float32, 0, strings.Count(string(raw), ",")+1)
	for len(raw) > 0 {
		end := slices.Index(raw, ',')
		if end < 0 {
			end = len(raw)
		}
		word := strings.TrimSpace(string(raw[:end]))
		f := math.NaN()
		if word != "null" {
			var err error
			if f, err = strconv.ParseFloat(word, 32); err != nil {
				return fmt.Errorf("reading an embedding: %w", err)
			}
		}
		out = append(out, float32(f))
		raw = raw[min(end+1, len(raw)):]
	}
	*e = out
	return nil
}

func trim(raw []byte) []byte {
	s := strings.TrimSpace(string(raw))
	return []byte(strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")))
}

// ErrTooMuch is returned by Get when the answer is longer than it may be.
var ErrTooMuch = errors.New("the answer is too long")

// Get fetches records by id, in no particular order; ids that are not there are
// left out. An answer of more than limit bytes is ErrTooMuch, unless only one
// id was asked for; limit 0 means no limit.
func (c *Client) Get(ctx context.Context, id string, ids []string, limit int64) ([]*pipeline.Vector, error) {
	r, err := c.get(ctx, id, ids, limit, "metadatas", "documents", "embeddings")
	if err != nil {
		return nil, err
	}
	n := len(r.IDs)
	if len(r.Documents) != n || len(r.Metadatas) != n || len(r.Embeddings) != n {
		return nil, uneven()
	}
	out := make([]*pipeline.Vector, n)
	for i := range out {
		v := &pipeline.Vector{ID: r.IDs[i], Text: r.Documents[i]}
		if m := r.Metadatas[i]; len(m) > 0 && m[0] == '{' {
			v.Metadata = m
		}
		if r.Embeddings[i] != nil && len(*r.Embeddings[i]) > 0 {
			v.Embedding = *r.Embeddings[i]
		}
		out[i] = v
	}
	return out, nil
}

// Metadata fetches the metadata of the records that are there, by id.
func (c *Client) Metadata(ctx context.Context, id string, ids []string) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	for some := range slices.Chunk(ids, min(c.MaxBatch, 1000)) {
		r, err := c.get(ctx, id, some, 0, "metadatas")
		if err != nil {
			return nil, err
		}
		if len(r.Metadatas) != len(r.IDs) {
			return nil, uneven()
		}
		for i, key := range r.IDs {
			out[key] = r.Metadatas[i]
		}
	}
	return out, nil
}

func uneven() error {
	return pipeline.Environment("reading records", errors.New("the server's columns are not of one length"), serverHint)
}

func (c *Client) get(ctx context.Context, id string, ids []string, limit int64, include ...string) (*records, error) {
	const op = "reading records"
	body, err := json.Marshal(struct {
		IDs     []string `json:"ids"`
		Include []string `json:"include"`
	}{ids, include})
	if err != nil {
		return nil, err
	}
	res, err := c.send(ctx, op, http.MethodPost, c.collection(id)+"/get", body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	in := io.Reader(res.Body)
	if limit > 0 && len(ids) > 1 {
		in = &bounded{in, limit}
	}
	var r records
	if err := json.NewDecoder(in).Decode(&r); err != nil {
		if errors.Is(err, ErrTooMuch) {
			return nil, ErrTooMuch
		}
		return nil, failed(ctx, op, err)
	}
	return &r, nil
}

type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, ErrTooMuch
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// Encode is the body of an upsert. The records must have passed [Transform].
func (c *Client) Encode(records []*pipeline.Vector) ([]byte, error) {
	var ids, embeddings, metadatas, documents []byte
	for i, v := range records {
		sep := byte(',')
		if i == 0 {
			sep = '['
		}
		id, err := json.Marshal(v.ID)
		if err != nil {
			return nil, err
		}
		ids = append(append(ids, sep), id...)
		embeddings = c.embedding(append(embeddings, sep), v.Embedding)
		metadatas = append(metadatas, sep)
		if v.Metadata == nil {
			metadatas = append(metadatas, "null"...)
		} else {
			metadatas = append(metadatas, v.Metadata...)
		}
		text, err := json.Marshal(v.Text)
		if err != nil {
			return nil, err
		}
		documents = append(append(documents, sep), text...)
	}
	b := make([]byte, 0, len(ids)+len(embeddings)+len(metadatas)+len(documents)+80)
	b = append(append(b, `{"ids":`...), ids...)
	b = append(append(b, `],"embeddings":`...), embeddings...)
	b = append(append(b, `],"metadatas":`...), metadatas...)
	b = append(append(b, `],"documents":`...), documents...)
	return append(b, `],"uris":null}`...), nil
}

func (c *Client) embedding(b []byte, v []float32) []byte {
	if c.Base64 {
		raw := make([]byte, 0, 4*len(v))
		for _, f := range v {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
		}
		return append(base64.StdEncoding.AppendEncode(append(b, '"'), raw), '"')
	}
	b = append(b, '[')
	for i, f := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(f), 'g', -1, 32)
	}
	return append(b, ']')
}

// Upsert sends a body of [Client.Encode].
func (c *Client) Upsert(ctx context.Context, id string, body []byte) error {
	return c.do(ctx, "writing records", http.MethodPost, c.collection(id)+"/upsert", body, nil)
}
