package pipeline

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Record is what a lane carries: a *[Row], *[Vector] or *[Object]. Records of
// one unit have distinct keys. MarshalJSON (where there is one) gives the whole
// record for the quarantine, without loss.
type Record interface {
	// Key identifies the record inside its unit, on both sides.
	Key() string
	// Size is the approximate number of bytes the record holds in memory.
	Size() int
}

// Table is the header that the rows of a batch share.
type Table struct {
	Name    string
	Columns []string
	Key     []int // positions in Columns of the primary key
}

// Row is one row of a table. As read from SQLite its values have the storage
// class they were found with (nil, int64, float64, string, []byte); once
// converted they are canonical: nil, int64, bool or string (text, JSON text
// verbatim, date, timestamp), the same whichever database they come from.
type Row struct {
	Table  *Table
	Values []any
}

// KeySeparator stands between the columns of a composite primary key in a
// row's Key.
const KeySeparator = "\x1f"

// NullKey stands in a row's Key for a primary key column that is NULL.
const NullKey = "\x00"

// Key joins the primary key columns with [KeySeparator].
func (r *Row) Key() string {
	if len(r.Table.Key) == 1 {
		return keyText(r.Values[r.Table.Key[0]])
	}
	var b strings.Builder
	for i, k := range r.Table.Key {
		if i > 0 {
			b.WriteString(KeySeparator)
		}
		b.WriteString(keyText(r.Values[k]))
	}
	return b.String()
}

func keyText(v any) string {
	switch v := v.(type) {
	case nil:
		return NullKey
	case string:
		return v
	case []byte:
		return string(v)
	case int64:
		return strconv.FormatInt(v, 10)
	default:
		return fmt.Sprint(v)
	}
}

// Size sums text and blob lengths, and 16 for every value.
func (r *Row) Size() int {
	n := 0
	for _, v := range r.Values {
		n += 16
		switch v := v.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		}
	}
	return n
}

// MarshalJSON gives {"table": …, "values": {column: value}}. A blob is
// {"$blob": base64}, text that is not UTF-8 {"$bytes": base64}, a REAL
// {"$real": shortest decimal}, so that nothing is lost on the way.
func (r *Row) MarshalJSON() ([]byte, error) {
	vals := make(map[string]any, len(r.Values))
	for i, c := range r.Table.Columns {
		switch v := r.Values[i].(type) {
		case string:
			vals[c] = text(v)
		case []byte:
			vals[c] = map[string]string{"$blob": base64.StdEncoding.EncodeToString(v)}
		case float64:
			vals[c] = map[string]string{"$real": strconv.FormatFloat(v, 'g', -1, 64)}
		default:
			vals[c] = v
		}
	}
	return json.Marshal(struct {
		Table  string         `json:"table"`
		Values map[string]any `json:"values"`
	}{r.Table.Name, vals})
}

// text is JSON for any string: what is not UTF-8 becomes {"$bytes": base64}.
type text string

func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal(map[string][]byte{"$bytes": []byte(t)})
}

func (t *text) UnmarshalJSON(raw []byte) error {
	var b struct {
		Bytes []byte `json:"$bytes"`
	}
	if json.Unmarshal(raw, &b) == nil && b.Bytes != nil {
		*t = text(b.Bytes)
		return nil
	}
	return json.Unmarshal(raw, (*string)(t))
}

// Vector is one record of a collection.
type Vector struct {
	ID string
	// Text is the document; nil when the store holds none.
	Text *string
	// Metadata is a flat JSON object whose literals are kept as they were
	// read (3.0 stays 3.0); nil when the store holds none.
	Metadata json.RawMessage
	// Embedding is nil when the source has lost it: such a record is not
	// written, it is quarantined as [NeedsEmbedding].
	Embedding []float32
}

type vectorJSON struct {
	ID        text            `json:"id"`
	Text      *text           `json:"text"`
	Metadata  json.RawMessage `json:"metadata,omitempty"`
	Embedding []float32       `json:"embedding,omitempty"`
}

// MarshalJSON gives {"id", "text", "metadata", "embedding"}, without loss: text
// that is not UTF-8 is {"$bytes": base64}.
func (v *Vector) MarshalJSON() ([]byte, error) {
	return json.Marshal(vectorJSON{text(v.ID), (*text)(v.Text), v.Metadata, v.Embedding})
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (v *Vector) UnmarshalJSON(raw []byte) error {
	var j vectorJSON
	if err := json.Unmarshal(raw, &j); err != nil {
		return err
	}
	*v = Vector{string(j.ID), (*string)(j.Text), j.Metadata, j.Embedding}
	return nil
}

// Key is the record's id.
func (v *Vector) Key() string { return v.ID }

// Size counts id, text, metadata and four bytes a dimension.
func (v *Vector) Size() int {
	n := 64 + len(v.ID) + len(v.Metadata) + 4*len(v.Embedding)
	if v.Text != nil {
		n += len(*v.Text)
	}
	return n
}

// Object is one file. Its content is not in memory: a sink streams it from
// Open and may call Open again when it has to repeat.
type Object struct {
	// Name is the path below DATA_DIR, with slashes: "uploads/<id>_<name>".
	Name string
	// Bytes is the size in bytes when it was listed.
	Bytes int64
	// ModTime is the modification time; zero when the store has none.
	ModTime time.Time
	// SHA256, MD5 and CRC32C (Castagnoli, big endian) are lower-case
	// hexadecimal digests of the content where they are known without reading
	// it, else "".
	SHA256 string
	MD5    string
	CRC32C string
	// Version names this very content in the store that it is read from (ETag,
	// generation): another content of the same name has another one, also where
	// size and time are the same. "" where there is none.
	Version string
	Open    func(context.Context) (io.ReadCloser, error)
}

// Key is the object's name.
func (o *Object) Key() string { return o.Name }

// Size is what the record itself holds in memory, not the file's length.
func (o *Object) Size() int { return 128 + len(o.Name) }

// MarshalJSON gives name, bytes, modification time and the digests that are
// known; an object's content stays where it is.
func (o *Object) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name    text      `json:"name"`
		Bytes   int64     `json:"bytes"`
		ModTime time.Time `json:"mtime"`
		SHA256  string    `json:"sha256,omitempty"`
		MD5     string    `json:"md5,omitempty"`
		CRC32C  string    `json:"crc32c,omitempty"`
	}{text(o.Name), o.Bytes, o.ModTime, o.SHA256, o.MD5, o.CRC32C})
}
