package pinecone

import (
	"context"
	"fmt"
	"sync"

	sdk "github.com/pinecone-io/go-pinecone/v5/pinecone"
	"golang.org/x/sync/errgroup"

	layout "outgrow/mappings/pinecone"
	"outgrow/pipeline"
)

// Write upserts the batch, several requests at a time. A record that Pinecone
// refuses for what it is comes back as refused; it is found by halving the
// request.
func (s *Sink) Write(ctx context.Context, b pipeline.Batch[*pipeline.Vector]) (pipeline.Outcome, error) {
	if ctx.Err() != nil {
		return pipeline.Outcome{}, context.Cause(ctx)
	}
	w, err := s.writer(b.Part.Unit)
	if err != nil {
		return pipeline.Outcome{}, fmt.Errorf("writing %s: %w", b.Part.Unit.ID(), err)
	}
	out, err := w.write(ctx, b.Records)
	if err != nil {
		return pipeline.Outcome{}, err
	}
	s.mu.Lock()
	s.written += int64(out.Written)
	s.mu.Unlock()
	return out, nil
}

// writer writes records of one unit.
type writer struct {
	*Sink
	conn *sdk.IndexConnection
	unit pipeline.Unit

	mu      sync.Mutex
	out     pipeline.Outcome
	done    []string // ids
	refusal error    // of the server's, the last one
}

func (s *Sink) writer(u pipeline.Unit) (*writer, error) {
	conn, err := s.connection()
	return &writer{Sink: s, conn: conn, unit: u}, err
}

// record is one to be upserted, as it came and as it goes.
type record struct {
	in   *pipeline.Vector
	out  *sdk.Vector
	size int
}

func (w *writer) write(ctx context.Context, in []*pipeline.Vector) (pipeline.Outcome, error) {
	records, err := w.screen(in)
	if err != nil {
		return pipeline.Outcome{}, err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(w.cfg.Writers)
	for _, chunk := range chunks(records, w.cfg.UpsertRecords) {
		g.Go(func() error { return w.upsert(gctx, chunk) })
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			return pipeline.Outcome{}, context.Cause(ctx)
		}
		return pipeline.Outcome{}, err
	}
	// Nothing went in of several records: it is hardly the records' fault.
	if len(records) > 1 && len(w.done) == 0 {
		return pipeline.Outcome{}, &pipeline.Error{Op: "writing", Unit: w.unit.ID(), Err: fmt.Errorf("every one of %d records was refused: %w", len(records), w.refusal),
			Hint: "look at the index in Pinecone's console"}
	}
	return w.out, nil
}

// screen encodes what the index can hold and refuses the rest.
func (w *writer) screen(in []*pipeline.Vector) ([]record, error) {
	out := make([]record, 0, len(in))
	for _, v := range in {
		if column, reason, detail := layout.Refuses(w.cfg.Store, w.unit.Name, v); reason != "" {
			w.refuse(v, column, reason, detail)
			continue
		}
		enc, size, err := layout.Encode(v, w.unit.Name)
		if err != nil {
			return nil, &pipeline.Error{Op: "encoding", Unit: w.unit.ID(), Key: v.ID, Err: err}
		}
		out = append(out, record{v, enc, size})
	}
	return out, nil
}

func (w *writer) refuse(v *pipeline.Vector, column string, reason pipeline.Reason, detail string) {
	w.out.Refused = append(w.out.Refused, pipeline.NewRefusal(w.unit, v, column, reason, detail))
}

// chunks cuts by number and by bytes.
func chunks(records []record, most int) (out [][]record) {
	for len(records) > 0 {
		n, size := 0, 0
		for n < len(records) && n < most && (n == 0 || size+records[n].size <= layout.MaxUpsertSize) {
			size += records[n].size
			n++
		}
		out = append(out, records[:n])
		records = records[n:]
	}
	return out
}

// upsert sends records, and halves them where the server refuses one.
func (w *writer) upsert(ctx context.Context, records []record) error {
	send := make([]*sdk.Vector, len(records))
	for i, r := range records {
		send[i] = r.out
	}
	err := w.cfg.Backoff.Do(ctx, func(attempt int) error {
		if attempt > 0 {
			w.cfg.Log.Info("upserting again", "unit", w.unit.ID(), "attempt", attempt)
		}
		_, err := w.conn.UpsertVectors(ctx, send)
		return layout.Classify(ctx, "upserting into "+w.unit.ID(), err)
	})
	switch {
	case err == nil:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.out.Written += len(records)
		for _, r := range records {
			w.done = append(w.done, r.in.ID)
		}
		return nil
	case !layout.IsData(err):
		return err
	case len(records) == 1:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.refusal = err
		w.refuse(records[0].in, "", pipeline.Invalid, layout.Message(err))
		return nil
	}
	half := len(records) / 2
	if err := w.upsert(ctx, records[:half]); err != nil {
		return err
	}
	return w.upsert(ctx, records[half:])
}
