package qdrant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	pb "github.com/qdrant/go-client/qdrant"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	"outgrow/mappings/qdrant"
	"outgrow/pipeline"
)

// A request is bounded well below what a server takes (qdrant.MaxRequest): small
// ones keep several writers busy and little in memory, smaller ones than these
// cost the server more a record.
const (
	requestBytes  = 2 << 20
	requestPoints = 1000
)

// Write upserts a batch and waits until Qdrant has applied it.
func (s *Sink) Write(ctx context.Context, b pipeline.Batch[*pipeline.Vector]) (pipeline.Outcome, error) {
	return s.write(ctx, b.Part.Unit, b.Records)
}

func (s *Sink) write(ctx context.Context, u pipeline.Unit, records []*pipeline.Vector) (pipeline.Outcome, error) {
	return s.upsert(ctx, u, records, true)
}

// upsert writes records, into a collection whose index is put off before if
// load.
func (s *Sink) upsert(ctx context.Context, u pipeline.Unit, records []*pipeline.Vector, load bool) (pipeline.Outcome, error) {
	var out pipeline.Outcome
	if len(records) == 0 {
		return out, ctx.Err()
	}
	t := s.target(u.Name)
	w := &writer{Sink: s, unit: u, target: t}
	kept, err := w.screen(ctx, records)
	if err != nil {
		return out, err
	}
	if len(kept) > 0 && load {
		if err := s.putOff(ctx, t); err != nil {
			return out, err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, chunk := range t.chunks(kept) {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			_ = g.Wait()
			return out, context.Cause(ctx)
		}
		g.Go(func() error {
			defer func() { <-s.slots }()
			return w.put(ctx, chunk)
		})
	}
	if err := g.Wait(); err != nil {
		return out, err
	}
	if len(kept) > 1 && len(w.denied) == len(kept) {
		// It is not the records: every one of them would be put aside for nothing.
		return out, pipeline.Environment("writing to "+t.name, w.denied[0], "look at the strict mode and the limits of the collection")
	}
	slices.SortFunc(w.out.Refused, func(a, b pipeline.Refusal) int { return compare(a.Key, b.Key) })
	return w.out, nil
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// writer is one call of Write.
type writer struct {
	*Sink
	unit   pipeline.Unit
	target *target

	mu     sync.Mutex
	out    pipeline.Outcome
	denied []error // by the server, a record each
}

func (w *writer) refuse(v *pipeline.Vector, column string, reason pipeline.Reason, detail string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out.Refused = append(w.out.Refused, pipeline.NewRefusal(w.unit, v, column, reason, detail))
}

// screen takes out what Qdrant cannot hold. The first record that has a vector
// settles the dimension of a collection that nobody has made yet.
func (w *writer) screen(ctx context.Context, records []*pipeline.Vector) ([]*pipeline.Vector, error) {
	kept := make([]*pipeline.Vector, 0, len(records))
	dim := w.unit.Dim
	for _, v := range records {
		column, reason, detail := qdrant.Refuses(v, dim)
		if reason == "" && dim == 0 {
			dim = len(v.Embedding)
			if known := w.target.known(); known > 0 {
				dim = known
			}
			column, reason, detail = qdrant.Refuses(v, dim)
		}
		if reason != "" {
			w.refuse(v, column, reason, detail)
			continue
		}
		kept = append(kept, v)
	}
	if len(kept) == 0 {
		return nil, ctx.Err()
	}
	return kept, w.ready(ctx, w.target, w.unit, dim)
}

func (t *target) known() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dim
}

// chunks cuts records into requests.
func (t *target) chunks(records []*pipeline.Vector) (out [][]*pipeline.Vector) {
	most := requestPoints
	if t.points > 0 {
		most = min(most, t.points)
	}
	from, size := 0, 0
	for i, v := range records {
		size += v.Size()
		if size >= requestBytes || i+1-from == most || i+1 == len(records) {
			out = append(out, records[from:i+1])
			from, size = i+1, 0
		}
	}
	return out
}

// put sends one request. When the server finds fault with what it holds the
// records at fault are found by halving.
func (w *writer) put(ctx context.Context, records []*pipeline.Vector) error {
	size := 0
	for _, v := range records {
		size += v.Size() + v.Size()/8
	}
	req := qdrant.NewUpsert(w.target.name, size)
	sent := records[:0:0]
	tenant := w.tenant(w.unit.Name)
	for _, v := range records {
		if err := req.Add(v, tenant); err != nil {
			w.refuse(v, "vmetadata", pipeline.Invalid, err.Error())
			continue
		}
		sent = append(sent, v)
	}
	if len(sent) == 0 {
		return nil
	}
	reply, err := w.conn.Upsert(ctx, req)
	switch code := qdrant.Code(err); {
	case err == nil && reply.GetResult().GetStatus() != pb.UpdateStatus_Completed:
		return pipeline.Transient(fmt.Errorf("writing to %s: the server has only %v", w.target.name, reply.GetResult().GetStatus()))
	case err == nil:
		w.mu.Lock()
		w.out.Written += len(sent)
		w.mu.Unlock()
		return nil
	case code != codes.InvalidArgument && code != codes.OutOfRange:
		return qdrant.Classify("writing to "+w.target.name, err)
	case len(sent) == 1:
		reason := pipeline.Invalid
		if code == codes.OutOfRange {
			reason = pipeline.TooLong
		}
		w.refuse(sent[0], "", reason, "Qdrant refuses it: "+err.Error())
		w.mu.Lock()
		w.denied = append(w.denied, err)
		w.mu.Unlock()
		return nil
	}
	half := len(sent) / 2
	if err := w.put(ctx, sent[:half]); err != nil {
		return err
	}
	return w.put(ctx, sent[half:])
}

// markPrefix begins the marks of the collections whose index is put off; the
// value is the threshold to be put back.
const markPrefix = "without:qdrant-index:"

// putOff lets Qdrant build no vector index for now, once a collection.
func (s *Sink) putOff(ctx context.Context, t *target) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.deferred || s.cfg.Journal == nil {
		return nil
	}
	marks, err := s.cfg.Journal.Marked(ctx)
	if err != nil {
		return err
	}
	if marks[markPrefix+t.name] == "" {
		if t.kilobyte == 0 {
			t.deferred = true // the server says no threshold that could be put back
			return nil
		}
		if err := s.cfg.Journal.Mark(ctx, markPrefix+t.name, strconv.FormatUint(t.kilobyte, 10)); err != nil {
			return err
		}
	}
	if err := s.threshold(ctx, t.name, 0); err != nil {
		return err
	}
	t.deferred = true
	return nil
}

// threshold sets from how many kilobytes of vectors on a segment is indexed; 0
// for never.
func (s *Sink) threshold(ctx context.Context, name string, kilobyte uint64) error {
	_, err := s.conn.Collections.Update(ctx, &pb.UpdateCollection{CollectionName: name, OptimizersConfig: &pb.OptimizersConfigDiff{IndexingThreshold: &kilobyte}})
	return qdrant.Classify("setting the indexing threshold of "+name, err)
}

// Put writes repaired records: over those of the same id and collection, never
// over another tenant's. Once they are there the ledger says so and the
// quarantine lets them go. The index is not put off: no Finish follows.
func (s *Sink) Put(ctx context.Context, u pipeline.Unit, records []*pipeline.Vector) (pipeline.Outcome, error) {
	if s.cfg.Journal == nil {
		return pipeline.Outcome{}, fmt.Errorf("putting records into %s without a journal: %w", u.ID(), errors.ErrUnsupported)
	}
	out, err := s.Upsert(ctx, u, records, pipeline.Upsert{})
	if err != nil {
		return pipeline.Outcome{}, err
	}
	return pipeline.Settle(ctx, s.cfg.Journal, u, pipeline.Accepted(records, out), out)
}

// elsewhere refuses the records whose id another tenant of the class holds.
func (s *Sink) elsewhere(ctx context.Context, u pipeline.Unit, records []*pipeline.Vector) (free []*pipeline.Vector, taken []pipeline.Refusal, err error) {
	if !s.cfg.Store.Multitenancy {
		return records, nil, nil
	}
	name := qdrant.Collection(s.cfg.Store, u.Name)
	var ids []*pb.PointId
	for _, v := range records {
		if p, ok := qdrant.ParseUUID(v.ID); ok {
			ids = append(ids, p.PB())
		}
	}
	reply, err := s.conn.Points.Get(ctx, &pb.GetPoints{CollectionName: name, Ids: ids, WithPayload: pb.NewWithPayloadInclude(qdrant.TenantField)})
	if err != nil && qdrant.Code(err) != codes.NotFound {
		return nil, nil, qdrant.Classify("looking ids up in "+name, err)
	}
	holder := map[qdrant.Point]string{}
	for _, p := range reply.GetResult() {
		if id, ok := qdrant.PointOf(p.GetId()); ok {
			holder[id] = qdrant.Tenant(p.GetPayload())
		}
	}
	for _, v := range records {
		p, _ := qdrant.ParseUUID(v.ID)
		if other, ok := holder[p]; ok && other != u.Name {
			taken = append(taken, pipeline.NewRefusal(u, v, "id", pipeline.Duplicate,
				fmt.Sprintf("collection %q holds this id already, and %s keeps an id once for all its collections", other, name)))
			continue
		}
		free = append(free, v)
	}
	return free, taken, nil
}
