package pipeline

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// Lane is one of the three kinds of data of a deployment.
type Lane string

// The lanes.
const (
	Rows    Lane = "rows"
	Vectors Lane = "vectors"
	Files   Lane = "files"
)

// Lanes lists them.
func Lanes() []Lane { return []Lane{Rows, Vectors, Files} }

// Unit is what a lane is made of: a table, a collection, a folder.
type Unit struct {
	Lane Lane `json:"lane"`
	// Name is the table, the logical collection name as Open WebUI uses it, or
	// the folder below DATA_DIR. Unique in its lane.
	Name string `json:"name"`
	// Label is what an operator calls it, "" when that is the name.
	Label string `json:"label,omitempty"`
	// Records and Bytes are estimates, -1 when unknown.
	Records int64 `json:"records"`
	Bytes   int64 `json:"bytes"`
	// After lists the IDs of units that must be durable before this one
	// starts. Such a unit comes last in its lane.
	After []string `json:"after,omitempty"`
	// Dim is the dimension of a collection's vectors, 0 when unknown.
	Dim int `json:"dim,omitempty"`
}

// ID names the unit in states, reports and Unit.After: "rows/chat".
func (u Unit) ID() string { return string(u.Lane) + "/" + u.Name }

// UnitOf gives the unit of an ID; how much it holds is not known.
func UnitOf(id string) Unit {
	lane, name, _ := strings.Cut(id, "/")
	return Unit{Lane: Lane(lane), Name: name, Records: -1, Bytes: -1}
}

// Title is the name for people.
func (u Unit) Title() string {
	if u.Label != "" {
		return u.Label
	}
	return u.Name
}

// Cursor says where a reader of a part can go on. Only the source that made it
// can read it; "" is the start of the part.
type Cursor string

// notText marks a cursor in JSON that is not UTF-8: base64 follows.
const notText = "base64:"

// MarshalJSON keeps every byte: what is not UTF-8 is spelled in base64.
func (c Cursor) MarshalJSON() ([]byte, error) {
	s := string(c)
	if !utf8.ValidString(s) || strings.HasPrefix(s, notText) {
		s = notText + base64.StdEncoding.EncodeToString([]byte(s))
	}
	return json.Marshal(s)
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (c *Cursor) UnmarshalJSON(raw []byte) error {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	if code, ok := strings.CutPrefix(s, notText); ok {
		b, err := base64.StdEncoding.DecodeString(code)
		if err != nil {
			return err
		}
		s = string(b)
	}
	*c = Cursor(s)
	return nil
}

// Part is a fixed range (From, To] of a unit, worked on by one writer at a
// time. Parts are fixed in the journal at the first start; a resume never cuts
// them anew. To "" means to the end of the unit.
type Part struct {
	Unit Unit   `json:"unit"`
	N    int    `json:"n"`
	From Cursor `json:"from"`
	To   Cursor `json:"to"`
}

// Batch is what is read, written, retried and checkpointed as one. Reading
// after Prev gives exactly this batch again as long as the source is the same.
type Batch[T Record] struct {
	Part    Part
	Prev    Cursor // where the part stood before this batch
	Next    Cursor // where it stands once the batch is durable
	Records []T
	// Refused and Changed are what the reader and the transforms decided: the
	// sink stores these lines with the batch, together with its own.
	Refused []Refusal
	Changed []Change
	// Read counts the records taken from the source for this batch.
	Read int
	// Bytes is the sum of the sizes of the records read.
	Bytes int64
	// Same counts the records read that were left out, as they are known; see
	// [Sifter].
	Same int
	// Origins are those of the records as they were read, in their order; nil
	// where nobody has asked.
	Origins []Sum
}

// Limits bounds a batch; a batch ends at the first limit it reaches, so it
// holds at most Bytes plus one record.
type Limits struct {
	Records int   // records a batch, 0 for the reader's own default
	Bytes   int64 // bytes a batch, 0 for the reader's own default
}

// WithDefaults fills in what is zero.
func (l Limits) WithDefaults(records int, bytes int64) Limits {
	if l.Records <= 0 {
		l.Records = records
	}
	if l.Bytes <= 0 {
		l.Bytes = bytes
	}
	return l
}
