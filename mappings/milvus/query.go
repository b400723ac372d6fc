package milvus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"outgrow/mappings/env"
)

// Quote spells a string inside an expression, with the escapes that every
// server knows; all other characters stand for themselves.
func Quote(s string) string {
	return `"` + escapes.Replace(s) + `"`
}

var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

// Filter is the expression that picks a logical collection's records, "" for
// all of the collection.
func Filter(cfg env.MilvusConfig, logical string) string {
	if !cfg.Multitenancy {
		return ""
	}
	return FieldResource + " == " + Quote(logical)
}

// And joins two expressions of which either may be "".
func And(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + " and " + b
}

// Among is the expression for records of these ids. Ids that are not UTF-8 are
// in no store and are left out; ok is false when none is left.
func Among(ids []string) (expr string, ok bool) {
	var b strings.Builder
	for _, id := range ids {
		if !utf8.ValidString(id) {
			continue
		}
		if ok {
			b.WriteString(", ")
		}
		b.WriteString(Quote(id))
		ok = true
	}
	return FieldID + " in [" + b.String() + "]", ok
}

// Stamp is a moment on the server's clock: a request with it sees all that was
// acknowledged before. Its first use may wait some 200 ms until the server has
// come so far; later ones do not wait. The zero value stands for the moment of
// the request itself, which waits each time.
type Stamp uint64

// Now is the present moment; zero where the server gives none.
func (s *Store) Now(ctx context.Context) (Stamp, error) {
	res, err := s.Service.AllocTimestamp(ctx, &milvuspb.AllocTimestampRequest{})
	if status.Code(err) == codes.Unimplemented {
		return 0, nil
	}
	if err := Check("asking Milvus for the time", res, err); err != nil {
		return 0, err
	}
	return Stamp(res.GetTimestamp()), nil
}

// Query asks for at most limit records (0 for no limit), which are the first
// ones in the order of their ids.
func (s *Store) Query(ctx context.Context, name, expr string, fields []string, limit int, at Stamp) (*Page, error) {
	req := &milvuspb.QueryRequest{CollectionName: name, Expr: expr, OutputFields: fields, ConsistencyLevel: commonpb.ConsistencyLevel_Strong}
	if at > 0 {
		req.ConsistencyLevel, req.GuaranteeTimestamp = commonpb.ConsistencyLevel_Customized, uint64(at)
	}
	if limit > 0 {
		// As the clients' own iterators ask: without stop for best a segment
		// that gave all it was asked for is not asked again, and what comes
		// from others would pass over its later ids.
		req.QueryParams = []*commonpb.KeyValuePair{pair("limit", strconv.Itoa(limit)), pair("iterator", "True"), pair("reduce_stop_for_best", "true")}
	}
	res, err := s.Service.Query(ctx, req)
	if err := Check("reading "+name, res, err); err != nil {
		return nil, err
	}
	p, err := newPage(res.GetFieldsData())
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	p.sort()
	return p, nil
}

// Count counts rows: an id that was inserted twice counts twice.
func (s *Store) Count(ctx context.Context, name, filter string) (int64, error) {
	res, err := s.Service.Query(ctx, &milvuspb.QueryRequest{CollectionName: name, Expr: filter, OutputFields: []string{"count(*)"}, ConsistencyLevel: commonpb.ConsistencyLevel_Strong})
	if err := Check("counting "+name, res, err); err != nil {
		return 0, err
	}
	for _, f := range res.GetFieldsData() {
		if d := f.GetScalars().GetLongData().GetData(); len(d) == 1 {
			return d[0], nil
		}
	}
	return 0, fmt.Errorf("counting %s: the server gave no number", name)
}

// Bounds are ids between which records are asked for: After < id <= To.
// Without From, and with To "", there is no bound. The records are those of the
// moment At, or later ones.
type Bounds struct {
	From      bool
	After, To string
	At        Stamp
}

// Expr is the expression for the bounds inside a filter.
func (b Bounds) Expr(filter string) string {
	e := filter
	if b.From {
		e = And(e, FieldID+" > "+Quote(b.After))
	}
	if b.To != "" {
		e = And(e, FieldID+" <= "+Quote(b.To))
	}
	if e == "" { // some servers want an expression with a limit
		e = FieldID + ` >= ""`
	}
	return e
}

// errOrder says that the server did not give a page in the order of ids.
var errOrder = errors.New("the server gave an id that is not behind the last one")

// Page gives the first records inside the bounds, in the order of their ids; an
// id that is stored twice comes once. It is empty only when there is no more.
func (s *Store) Page(ctx context.Context, name, filter string, fields []string, at Bounds, limit int) (*Page, error) {
	p, err := s.Query(ctx, name, at.Expr(filter), fields, min(limit, MaxPage), at.At)
	if err != nil {
		return nil, err
	}
	if p.Len() > 0 && at.From && p.ID(0) <= at.After {
		return nil, fmt.Errorf("reading %s: %w", name, errOrder)
	}
	return p, nil
}

// Pages yields all records inside the bounds page by page, as of now.
func (s *Store) Pages(ctx context.Context, name, filter string, fields []string, at Bounds, limit int) iter.Seq2[*Page, error] {
	return func(yield func(*Page, error) bool) {
		var err error
		if at.At, err = s.Now(ctx); err != nil {
			yield(nil, err)
			return
		}
		for {
			page, err := s.Page(ctx, name, filter, fields, at, limit)
			if err != nil {
				yield(nil, err)
				return
			}
			if page.Len() == 0 {
				return
			}
			at.From, at.After = true, page.ID(page.Len()-1)
			if !yield(page, nil) {
				return
			}
		}
	}
}

// Delete removes records by id, inside the filter; missing ones are no error.
func (s *Store) Delete(ctx context.Context, name, filter string, ids []string) error {
	for len(ids) > 0 {
		n := min(len(ids), 1000)
		if expr, ok := Among(ids[:n]); ok {
			res, err := s.Service.Delete(ctx, &milvuspb.DeleteRequest{CollectionName: name, Expr: And(expr, filter)})
			if err := Check("deleting from "+name, res, err); err != nil {
				return err
			}
		}
		ids = ids[n:]
	}
	return nil
}

// floats gives the i-th vector of a field; it is a view.
func floats(f *schemapb.FieldData, i int) []float32 {
	v := f.GetVectors()
	d := int(v.GetDim())
	return v.GetFloatVector().GetData()[i*d : (i+1)*d : (i+1)*d]
}
