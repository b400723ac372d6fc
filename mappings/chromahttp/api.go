package chromahttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"outgrow/pipeline"
)

// Collection is one of the database's collections.
type Collection struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Dimension is nil until the first record is there.
	Dimension *int                       `json:"dimension"`
	Metadata  map[string]json.RawMessage `json:"metadata"`
	Config    struct {
		HNSW *struct {
			Space string `json:"space"`
		} `json:"hnsw"`
	} `json:"configuration_json"`
}

// Dim is the dimension of the vectors, 0 while it is open.
func (c *Collection) Dim() int {
	if c.Dimension == nil {
		return 0
	}
	return *c.Dimension
}

// Space is the distance function that the collection's index uses.
func (c *Collection) Space() string {
	if c.Config.HNSW != nil {
		return c.Config.HNSW.Space
	}
	var s string
	_ = json.Unmarshal(c.Metadata["hnsw:space"], &s)
	return s
}

func (c *Client) collection(id string) string { return c.root + "/collections/" + url.PathEscape(id) }

// Collections lists all of them by name. The server lists in pages by offset
// and has nothing else, so the number of names is compared with its count; a
// list that changed meanwhile is read again.
func (c *Client) Collections(ctx context.Context) ([]Collection, error) {
	const op, page = "listing Chroma's collections", 200
	for range 5 {
		all := map[string]Collection{}
		for at := 0; ; at += page {
			var some []Collection
			if err := c.do(ctx, op, http.MethodGet, fmt.Sprintf("%s/collections?limit=%d&offset=%d", c.root, page, at), nil, &some); err != nil {
				return nil, err
			}
			for _, l := range some {
				all[l.ID] = l
			}
			if len(some) < page {
				break
			}
		}
		var n int
		if err := c.do(ctx, op, http.MethodGet, c.root+"/collections_count", nil, &n); err != nil {
			return nil, err
		}
		if n != len(all) {
			continue
		}
		out := make([]Collection, 0, n)
		for _, l := range all {
			out = append(out, l)
		}
		slices.SortFunc(out, func(a, b Collection) int { return strings.Compare(a.Name, b.Name) })
		return out, nil
	}
	return nil, pipeline.Environment(op, pipeline.Transient(errors.New("collections come and go while they are listed")), "stop Open WebUI, then run the same command")
}

// Lookup finds a collection by its name; nil when there is none.
func (c *Client) Lookup(ctx context.Context, name string) (*Collection, error) {
	if NameProblem(name) != "" {
		return nil, nil
	}
	var l Collection
	err := c.do(ctx, "looking for a collection", http.MethodGet, c.collection(name), nil, &l)
	if Missing(err) {
		return nil, nil
	}
	return &l, err
}

// Create makes a collection as Open WebUI does, or gives the one that is there.
func (c *Client) Create(ctx context.Context, name string) (*Collection, error) {
	body, err := json.Marshal(struct {
		Name          string            `json:"name"`
		Metadata      map[string]string `json:"metadata"`
		Configuration any               `json:"configuration"`
		Schema        any               `json:"schema"`
		GetOrCreate   bool              `json:"get_or_create"`
	}{name, map[string]string{"hnsw:space": Cosine}, nil, nil, true})
	if err != nil {
		return nil, err
	}
	var l Collection
	return &l, c.do(ctx, "creating a collection", http.MethodPost, c.root+"/collections", body, &l)
}

// Drop deletes a collection by its name; a missing one is no error.
func (c *Client) Drop(ctx context.Context, name string) error {
	err := c.do(ctx, "deleting a collection", http.MethodDelete, c.collection(name), nil, nil)
	if Missing(err) {
		return nil
	}
	return err
}

// Count counts the records of a collection, those not yet indexed included.
func (c *Client) Count(ctx context.Context, id string) (n int64, err error) {
	err = c.do(ctx, "counting records", http.MethodGet, c.collection(id)+"/count?read_level=index_and_wal", nil, &n)
	return n, err
}

// IDs streams the ids of a collection in one answer of the server: they are
// those of one moment.
func (c *Client) IDs(ctx context.Context, id string, each func(id string) error) error {
	const op = "listing ids"
	res, err := c.send(ctx, op, http.MethodPost, c.collection(id)+"/get", []byte(`{"ids":null,"where":null,"limit":null,"offset":null,"where_document":null,"include":[]}`))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	d := json.NewDecoder(res.Body)
	for depth, key := 0, ""; ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) && depth == 0 {
			return nil
		} else if err != nil {
			return failed(ctx, op, err)
		}
		switch tok := tok.(type) {
		case json.Delim:
			if tok == '{' || tok == '[' {
				depth++
			} else if depth--; depth == 0 {
				return nil
			}
		case string:
			if depth == 1 {
				key = tok
			} else if depth == 2 && key == "ids" {
				if err := each(tok); err != nil {
					return err
				}
			}
		}
	}
}

// Delete removes records by id; ids that are not there are no error.
func (c *Client) Delete(ctx context.Context, id string, ids []string) error {
	for some := range slices.Chunk(ids, min(c.MaxBatch, 1000)) {
		body, err := json.Marshal(map[string]any{"ids": some, "where": nil, "where_document": nil})
		if err != nil {
			return err
		}
		if err := c.do(ctx, "deleting records", http.MethodPost, c.collection(id)+"/delete", body, nil); err != nil {
			return err
		}
	}
	return nil
}

// Query finds the k nearest records of each vector, with their distances.
func (c *Client) Query(ctx context.Context, id string, vectors [][]float32, k int) ([][]string, [][]float64, error) {
	body, err := json.Marshal(map[string]any{"ids": nil, "query_embeddings": vectors, "n_results": k, "where": nil, "where_document": nil, "include": []string{"distances"}})
	if err != nil {
		return nil, nil, err
	}
	var r struct {
		IDs       [][]string   `json:"ids"`
		Distances [][]*float64 `json:"distances"`
	}
	if err := c.do(ctx, "searching", http.MethodPost, c.collection(id)+"/query", body, &r); err != nil {
		return nil, nil, err
	}
	out := make([][]float64, len(r.IDs))
	for i, ids := range r.IDs {
		for j := range ids {
			d := math.NaN()
			if i < len(r.Distances) && j < len(r.Distances[i]) && r.Distances[i][j] != nil {
				d = *r.Distances[i][j]
			}
			out[i] = append(out[i], d)
		}
	}
	return r.IDs, out, nil
}
