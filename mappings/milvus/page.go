package milvus

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"outgrow/pipeline"
)

// Page is what a query gave: records by column.
type Page struct {
	ids    []string
	order  []int // positions in the columns, by id
	fields map[string]*schemapb.FieldData
}

func newPage(columns []*schemapb.FieldData) (*Page, error) {
	p := &Page{fields: map[string]*schemapb.FieldData{}}
	for _, f := range columns {
		p.fields[f.GetFieldName()] = f
	}
	p.ids = p.fields[FieldID].GetScalars().GetStringData().GetData()
	for i := range p.ids {
		p.order = append(p.order, i)
	}
	for name, f := range p.fields {
		if name == FieldID || len(p.ids) == 0 {
			continue
		}
		n := len(p.ids)
		switch data := f.GetScalars().GetData().(type) {
		case *schemapb.ScalarField_StringData:
			n = len(data.StringData.GetData())
		case *schemapb.ScalarField_JsonData:
			n = len(data.JsonData.GetData())
		}
		if v := f.GetVectors(); v != nil {
			n = len(v.GetFloatVector().GetData()) / max(1, int(v.GetDim()))
		}
		if n != len(p.ids) {
			return nil, fmt.Errorf("the server gave %d ids and %d values of %s", len(p.ids), n, name)
		}
	}
	return p, nil
}

// sort puts the records in the order of their ids, and leaves out all but one
// of equal ids.
func (p *Page) sort() {
	sort.SliceStable(p.order, func(a, b int) bool { return p.ids[p.order[a]] < p.ids[p.order[b]] })
	p.order = slices.CompactFunc(p.order, func(a, b int) bool { return p.ids[a] == p.ids[b] })
}

// Len counts the records.
func (p *Page) Len() int { return len(p.order) }

// ID is that of the i-th record.
func (p *Page) ID(i int) string { return p.ids[p.order[i]] }

// Resource is the logical collection of the i-th record, with multitenancy.
func (p *Page) Resource(i int) string {
	return p.fields[FieldResource].GetScalars().GetStringData().GetData()[p.order[i]]
}

// Columns are the fields of a collection's records.
func Columns(c *Collection) []string {
	out := []string{FieldID, FieldVector}
	for _, f := range []string{FieldText, FieldData} {
		if c.Has(f) {
			out = append(out, f)
		}
	}
	return append(out, FieldMetadata)
}

// Record is the i-th record. A refusal says why it cannot be read.
func (p *Page) Record(i int) (*pipeline.Vector, error) {
	at := p.order[i]
	v := &pipeline.Vector{ID: strings.Clone(p.ids[at])}
	if f := p.fields[FieldVector]; f != nil {
		v.Embedding = slices.Clone(floats(f, at))
	}
	if raw := p.json(FieldMetadata, at); raw != nil {
		v.Metadata = slices.Clone(raw)
	}
	// As Open WebUI reads: text where there is such a field, else data.
	if d := p.fields[FieldText].GetScalars().GetStringData().GetData(); d != nil {
		text := strings.Clone(d[at])
		v.Text = &text
		return v, nil
	}
	if raw := p.json(FieldData, at); raw != nil {
		var data struct {
			Text *string `json:"text"`
		}
		if err := json.Unmarshal(raw, &data); err != nil {
			return v, fmt.Errorf("the field data is not JSON with a text: %w", err)
		}
		v.Text = data.Text
	}
	return v, nil
}

func (p *Page) json(field string, at int) []byte {
	d := p.fields[field].GetScalars().GetJsonData().GetData()
	if d == nil {
		return nil
	}
	return d[at]
}
