package milvus

import (
	"context"
	"fmt"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"outgrow/pipeline"
)

// appendQuoted spells a string in JSON as orjson does, which Open WebUI's
// client uses: UTF-8 as it is, escapes for quotes, backslashes and controls.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\f':
			b = append(b, `\f`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			if c < 0x20 {
				b = fmt.Appendf(b, `\u%04x`, c)
			} else {
				b = append(b, c)
			}
		}
	}
	return append(b, '"')
}

// dataJSON is what the field data holds of a text.
func dataJSON(text string) []byte {
	return append(appendQuoted([]byte(`{"text":`), text), '}')
}

func textOf(v *pipeline.Vector) string {
	if v.Text == nil {
		return ""
	}
	return *v.Text
}

var noMetadata = []byte("{}")

func scalar(name string, kind schemapb.DataType, f *schemapb.ScalarField) *schemapb.FieldData {
	return &schemapb.FieldData{FieldName: name, Type: kind, Field: &schemapb.FieldData_Scalars{Scalars: f}}
}

func strs(name string, values []string) *schemapb.FieldData {
	return scalar(name, schemapb.DataType_VarChar, &schemapb.ScalarField{Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: values}}})
}

func jsons(name string, values [][]byte) *schemapb.FieldData {
	return scalar(name, schemapb.DataType_JSON, &schemapb.ScalarField{Data: &schemapb.ScalarField_JsonData{JsonData: &schemapb.JSONArray{Data: values}}})
}

// Request lays records out for a collection, in the order of its fields.
func Request(c *Collection, logical string, records []*pipeline.Vector) *milvuspb.UpsertRequest {
	n := len(records)
	ids, texts, resources := make([]string, n), make([]string, n), make([]string, n)
	data, metadata := make([][]byte, n), make([][]byte, n)
	vectors := make([]float32, 0, n*c.Dim)
	withText, withData := c.Has(FieldText), c.Has(FieldData)
	for i, v := range records {
		ids[i], texts[i], resources[i] = v.ID, textOf(v), logical
		if withData {
			data[i] = dataJSON(texts[i])
		}
		if metadata[i] = v.Metadata; v.Metadata == nil {
			metadata[i] = noMetadata
		}
		vectors = append(vectors, v.Embedding...)
	}
	out := &milvuspb.UpsertRequest{CollectionName: c.Name, NumRows: uint32(n)}
	out.FieldsData = []*schemapb.FieldData{strs(FieldID, ids),
		{FieldName: FieldVector, Type: schemapb.DataType_FloatVector, Field: &schemapb.FieldData_Vectors{Vectors: &schemapb.VectorField{Dim: int64(c.Dim),
			Data: &schemapb.VectorField_FloatVector{FloatVector: &schemapb.FloatArray{Data: vectors}}}}}}
	if withText {
		out.FieldsData = append(out.FieldsData, strs(FieldText, texts))
	}
	if withData {
		out.FieldsData = append(out.FieldsData, jsons(FieldData, data))
	}
	out.FieldsData = append(out.FieldsData, jsons(FieldMetadata, metadata))
	if c.Shared() {
		out.FieldsData = append(out.FieldsData, strs(FieldResource, resources))
	}
	if c.Schema.GetEnableDynamicField() {
		dynamic := make([][]byte, n)
		for i := range dynamic {
			dynamic[i] = noMetadata
		}
		f := jsons("", dynamic)
		f.IsDynamic = true
		out.FieldsData = append(out.FieldsData, f)
	}
	return out
}

// MaxRequest bounds the records of one request, in bytes as [size] counts them:
// well below the 64 MB that Milvus takes.
const MaxRequest = 8 << 20

// size is what a record takes in a request at most: a text may be spelled in
// JSON, where a byte may take six.
func size(v *pipeline.Vector) int {
	t := textOf(v)
	return 128 + len(v.ID) + len(v.Metadata) + 4*len(v.Embedding) + len(t) + strings.Count(t, "\n") + strings.Count(t, `"`)
}

// Upsert writes records of a logical collection, never twice under one id. It
// is one request as long as they are not too large together.
func (s *Store) Upsert(ctx context.Context, c *Collection, logical string, records []*pipeline.Vector) error {
	for len(records) > 0 {
		n, total := 0, 0
		for n < len(records) && (n == 0 || total+size(records[n]) <= MaxRequest) {
			total += size(records[n])
			n++
		}
		res, err := s.Service.Upsert(ctx, Request(c, logical, records[:n]))
		if err := Check("writing to "+c.Name, res, err); err != nil {
			return err
		}
		if bad := res.GetErrIndex(); len(bad) > 0 {
			return fmt.Errorf("writing to %s: the server left %d of %d records out", c.Name, len(bad), n)
		}
		records = records[n:]
	}
	return nil
}
