package chromahttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"outgrow/mappings/chromahttp"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

// Write upserts a batch.
func (s *Sink) Write(ctx context.Context, b pipeline.Batch[*pipeline.Vector]) (pipeline.Outcome, error) {
	return s.write(ctx, b.Part.Unit, b.Records)
}

func (s *Sink) write(ctx context.Context, u pipeline.Unit, all []*pipeline.Vector) (pipeline.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return pipeline.Outcome{}, context.Cause(ctx)
	}
	w := writer{Sink: s, unit: u}
	if err := w.run(ctx, all); err != nil {
		return pipeline.Outcome{}, named("writing vectors to", u, err)
	}
	return w.out, nil
}

type writer struct {
	*Sink
	unit pipeline.Unit
	id   string // of the collection
	dim  int    // of its vectors, 0 while it is open
	out  pipeline.Outcome
}

// record is what goes to the server, and what came from the source.
type record struct {
	*pipeline.Vector
	whole *pipeline.Vector
}

func (w *writer) refuse(v *pipeline.Vector, column string, reason pipeline.Reason, format string, args ...any) {
	w.out.Refused = append(w.out.Refused, pipeline.NewRefusal(w.unit, v, column, reason, fmt.Sprintf(format, args...)))
}

// errGone is returned for a collection that was deleted under the writer.
var errGone = errors.New("the collection was deleted while it was written to")

func (w *writer) run(ctx context.Context, all []*pipeline.Vector) error {
	kept := make([]record, 0, len(all))
	for _, v := range all {
		out, changes, refusals := w.change(w.unit, v)
		w.out.Refused = append(w.out.Refused, refusals...)
		if out != nil {
			w.out.Changed = append(w.out.Changed, changes...)
			kept = append(kept, record{out, v})
		}
	}
	if len(kept) == 0 {
		return nil
	}
	if err := w.look(ctx, false); err != nil {
		return err
	}
	for len(kept) > 0 {
		n := w.fit(kept)
		if err := w.put(ctx, kept[:n]); err != nil {
			return err
		}
		kept = kept[n:]
	}
	return nil
}

func (w *writer) look(ctx context.Context, fresh bool) error {
	l, err := w.collection(ctx, w.unit.Name, fresh)
	if err == nil && l == nil {
		err = pipeline.Environment("writing vectors", errGone, "stop whatever deletes collections there, then run the same command with --replace")
	}
	if err != nil {
		return err
	}
	w.id, w.dim = l.ID, l.Dim()
	return nil
}

// request is how many bytes a request may have, if it holds more than one
// record; a server takes 40 MiB by default.
const request = 8 << 20

// fit is how many records go into one request.
func (w *writer) fit(records []record) int {
	size := 0
	for i, v := range records {
		size += v.Size()*3/2 + 64
		if i > 0 && (size > request || i == w.client.MaxBatch) {
			return i
		}
	}
	return len(records)
}

// put upserts records. Those that the server refuses are found by halving.
func (w *writer) put(ctx context.Context, records []record) error {
	if records = w.sameDim(records); len(records) == 0 {
		return nil
	}
	if err := w.clear(ctx, records); err != nil {
		return err
	}
	plain := make([]*pipeline.Vector, len(records))
	for i, r := range records {
		plain[i] = r.Vector
	}
	body, err := w.client.Encode(plain)
	if err != nil {
		return err
	}
	err = w.client.Upsert(ctx, w.id, body)
	if err == nil {
		w.out.Written += len(records)
		return nil
	}
	if chromahttp.Missing(err) { // deleted and made again, perhaps
		old := w.id
		if err := w.look(ctx, true); err != nil {
			return err
		}
		if w.id == old {
			return err
		}
		return pipeline.Environment("writing vectors", errGone, "stop whatever deletes collections there, then run the same command with --replace")
	}
	answer, ok := chromahttp.Refuses(err)
	switch {
	case !ok:
		return err
	case w.dim == 0: // the first record has settled the dimension
		if err := w.look(ctx, true); err != nil {
			return err
		}
		if w.dim != 0 {
			return w.put(ctx, records)
		}
	}
	if len(records) == 1 {
		reason := pipeline.Invalid
		if answer.Status == http.StatusRequestEntityTooLarge {
			reason = pipeline.TooLong
		}
		w.refuse(records[0].whole, "", reason, "%v", answer)
		w.forget(records[0].ID)
		return nil
	}
	half := len(records) / 2
	if err := w.put(ctx, records[:half]); err != nil {
		return err
	}
	return w.put(ctx, records[half:])
}

// forget takes the ledger lines of a record that was refused after all out.
func (w *writer) forget(id string) {
	kept := w.out.Changed[:0]
	for _, c := range w.out.Changed {
		if c.Key != id {
			kept = append(kept, c)
		}
	}
	w.out.Changed = kept
}

// sameDim refuses what is not of the collection's dimension.
func (w *writer) sameDim(records []record) []record {
	if w.dim == 0 {
		return records
	}
	kept := records[:0:0]
	for _, r := range records {
		if len(r.Embedding) == w.dim {
			kept = append(kept, r)
			continue
		}
		w.refuse(r.whole, "vector", pipeline.Invalid, "%d dimensions in a collection of %d", len(r.Embedding), w.dim)
		w.forget(r.ID)
	}
	return kept
}

// clear deletes the records whose metadata on the server has keys that the new
// one lacks: an upsert would leave them.
func (w *writer) clear(ctx context.Context, records []record) error {
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.ID
	}
	there, err := w.client.Metadata(ctx, w.id, ids)
	if err != nil || len(there) == 0 {
		return err
	}
	var stale []string
	for _, r := range records {
		if old, ok := there[r.ID]; ok && !covers(r.Metadata, old) {
			stale = append(stale, r.ID)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	return w.client.Delete(ctx, w.id, stale)
}

// covers reports whether every key of old is in now.
func covers(now, old json.RawMessage) bool {
	if len(old) == 0 || old[0] != '{' {
		return true
	}
	was, err := vectors.Members(old)
	if err != nil {
		return false
	}
	have := map[string]bool{}
	if len(now) > 0 {
		is, err := vectors.Members(now)
		if err != nil {
			return false
		}
		for _, m := range is {
			have[m.Key] = true
		}
	}
	for _, m := range was {
		if !have[m.Key] {
			return false
		}
	}
	return true
}
