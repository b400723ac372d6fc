package qdrant

import (
	"context"
	"iter"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"

	"outgrow/mappings/qdrant"
	"outgrow/pipeline"
)

// A cursor is "=" and the last id.
func cursor(p qdrant.Point) pipeline.Cursor { return pipeline.Cursor("=" + p.String()) }

func point(c pipeline.Cursor) (qdrant.Point, error) {
	if len(c) > 1 && c[0] == '=' {
		if p, ok := qdrant.ParsePoint(string(c[1:])); ok {
			return p, nil
		}
	}
	return qdrant.Point{}, errStrange
}

// Pages are sized by the records before them: texts have no limit, and a page is
// in memory twice.
const (
	firstPage = 64
	mostPage  = qdrant.Page
	pageBytes = 4 << 20
)

// Read yields the records behind the cursor. Where a batch ends depends on the
// records in it only, so reading after its Prev gives the same batch.
func (s *Source) Read(ctx context.Context, part pipeline.Part, from pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Vector], error] {
	return func(yield func(pipeline.Batch[*pipeline.Vector], error) bool) {
		if from == "" {
			from = part.From
		}
		r := reader{Source: s, batch: pipeline.Batch[*pipeline.Vector]{Part: part, Prev: from}, yield: yield}
		ok, err := r.run(ctx, from)
		if err != nil {
			yield(pipeline.Batch[*pipeline.Vector]{}, qdrant.Classify("reading "+part.Unit.ID(), err))
		} else if ok && r.batch.Read > 0 {
			r.flush()
		}
	}
}

type reader struct {
	*Source
	batch pipeline.Batch[*pipeline.Vector] // being filled
	last  qdrant.Point
	yield func(pipeline.Batch[*pipeline.Vector], error) bool
}

// run reads to the part's end; false when the consumer has had enough.
func (r *reader) run(ctx context.Context, from pipeline.Cursor) (bool, error) {
	part := r.batch.Part
	req := &pb.ScrollPoints{CollectionName: r.collection(part.Unit), Filter: r.filter(part.Unit), Limit: new(uint32(firstPage)),
		WithPayload: pb.NewWithPayload(true), WithVectors: pb.NewWithVectors(true)}
	if from != "" {
		p, err := point(from)
		if err != nil {
			return false, err
		}
		next, ok := p.Next()
		if !ok {
			return true, nil
		}
		req.Offset = next.PB()
	}
	var to *qdrant.Point
	if part.To != "" {
		p, err := point(part.To)
		if err != nil {
			return false, err
		}
		to = &p
	}
	for {
		reply, err := r.conn.Points.Scroll(ctx, req)
		if err != nil {
			if qdrant.Code(err) == codes.NotFound && from == "" {
				return true, nil // deleted since it was listed
			}
			return false, err
		}
		size := 0
		for _, p := range reply.GetResult() {
			if err := ctx.Err(); err != nil {
				return false, context.Cause(ctx)
			}
			n, more := r.take(p, to)
			if !more {
				return n >= 0, nil
			}
			size += n
		}
		if req.Offset = reply.GetNextPageOffset(); req.Offset == nil {
			return true, nil
		}
		if n := len(reply.GetResult()); size > 0 {
			req.Limit = new(uint32(min(max(pageBytes*n/size, 1), 4*n, mostPage, r.cfg.Limits.Records*4)))
		}
	}
}

// take adds a point to the batch and gives its size; more is false at the
// part's end, and with a size of -1 when the consumer has had enough.
func (r *reader) take(p *pb.RetrievedPoint, to *qdrant.Point) (size int, more bool) {
	v, err := qdrant.Decode(p)
	id, ok := qdrant.PointOf(p.GetId())
	if !ok {
		return 0, true
	}
	if to != nil && id.Compare(*to) > 0 {
		return 0, false
	}
	r.last = id
	size = v.Size()
	r.batch.Read++
	r.batch.Bytes += int64(size)
	if err != nil {
		r.batch.Refused = append(r.batch.Refused, pipeline.NewRefusal(r.batch.Part.Unit, v, "text", pipeline.Unreadable, err.Error()))
	} else {
		r.batch.Records = append(r.batch.Records, v)
	}
	if r.batch.Bytes >= r.cfg.Limits.Bytes || r.batch.Read >= r.cfg.Limits.Records {
		if !r.flush() {
			return -1, false
		}
	}
	return size, true
}

func (r *reader) flush() bool {
	b := r.batch
	b.Next = cursor(r.last)
	r.batch = pipeline.Batch[*pipeline.Vector]{Part: b.Part, Prev: b.Next}
	return r.yield(b, nil)
}
