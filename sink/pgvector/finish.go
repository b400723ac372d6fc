package pgvector

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

// markPrefix begins the marks of what is away, as in the row lane.
const markPrefix = "without:index:"

// takeIndexes drops the plain indexes of the table and writes what rebuilds
// them into marks, with those of Open WebUI's that are missing. Unique indexes
// and expression indexes of others stay: they refuse bad rows at once.
func (s *Sink) takeIndexes(ctx context.Context, tx pgx.Tx, f facts, marks map[string]string) error {
	there := map[string]bool{}
	for _, x := range f.indexes {
		there[x.Name] = true
		slow := x.Method == vectors.HNSW || x.Method == vectors.IVFFlat
		if !x.Plain || x.Expression && !slow && x.Name != vectors.TextIndex {
			continue
		}
		if err := s.store.MarkTx(ctx, tx, markPrefix+x.Name, x.Def); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DROP INDEX "+pg.Ident(s.schema, x.Name)); err != nil {
			return err
		}
	}
	for _, name := range s.layout.Indexes() {
		if !there[name] && marks[markPrefix+name] == "" {
			if err := s.store.MarkTx(ctx, tx, markPrefix+name, s.layout.CreateIndex(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Finish puts the indexes back, makes the vector index where Open WebUI would
// at its next start, analyzes the table and marks the lane as complete.
func (s *Sink) Finish(ctx context.Context, step func(string)) (pipeline.Outcome, error) {
	marks, err := s.store.Marked(ctx)
	if err != nil {
		return pipeline.Outcome{}, err
	}
	var rows int64
	if err := s.pool.QueryRow(ctx, "SELECT count(*) FROM "+s.table).Scan(&rows); err != nil {
		return pipeline.Outcome{}, pg.Classify("counting "+vectors.Table, err)
	}
	for _, mark := range slices.Sorted(maps.Keys(marks)) {
		if name, ok := strings.CutPrefix(mark, markPrefix); ok {
			step("building index " + name)
			if err := s.build(ctx, name, marks[mark], rows); err != nil {
				return pipeline.Outcome{}, err
			}
		}
	}
	if s.layout.WantsVectorIndex(rows) {
		step("building index " + vectors.VectorIndex)
		if err := s.build(ctx, vectors.VectorIndex, s.layout.CreateIndex(vectors.VectorIndex), rows); err != nil {
			return pipeline.Outcome{}, err
		}
	}
	step("analyzing " + vectors.Table)
	if _, err := s.pool.Exec(ctx, "ANALYZE "+s.table); err != nil {
		return pipeline.Outcome{}, pg.Classify("analyzing "+vectors.Table, err)
	}
	return pipeline.Outcome{}, s.store.Mark(ctx, "complete", time.Now().UTC().Format(time.RFC3339))
}

// build makes an index and removes its mark in one transaction. When the
// server lacks memory for the sized build (shared memory is small in
// containers) it is built again with the server's own settings.
func (s *Sink) build(ctx context.Context, name, ddl string, rows int64) error {
	err := s.buildWith(ctx, name, ddl, rows, true)
	if pg.HasCode(err, "53") {
		s.cfg.Log.Warn("building the index with the server's own memory settings", "index", name, "because", message(err))
		err = s.buildWith(ctx, name, ddl, rows, false)
	}
	return pg.Classify("building index "+name, err)
}

func (s *Sink) buildWith(ctx context.Context, name, ddl string, rows int64, sized bool) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var there bool
		if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", pg.Ident(s.schema, name)).Scan(&there); err != nil {
			return err
		}
		if !there {
			sql := "SET LOCAL max_parallel_maintenance_workers = 0"
			if sized {
				var current, cache int64 // kB
				if err := tx.QueryRow(ctx, "SELECT pg_size_bytes(current_setting('maintenance_work_mem')) / 1024, pg_size_bytes(current_setting('effective_cache_size')) / 1024").Scan(&current, &cache); err != nil {
					return err
				}
				sql = fmt.Sprintf("SET LOCAL maintenance_work_mem = '%dkB'", s.memory(name, rows, current, cache))
			}
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, ddl); err != nil {
				return err
			}
		}
		return s.store.MarkTx(ctx, tx, markPrefix+name, "")
	})
}

// memory sizes maintenance_work_mem in kB: what the build can use, at most a
// quarter of what the server takes for its cache, never less than it is set to.
// An ivfflat build fails when its sample does not fit, so that is not bounded.
func (s *Sink) memory(name string, rows, current, cache int64) int64 {
	item := int64(s.layout.MaxLength) * 4
	if s.layout.HalfVec {
		item /= 2
	}
	least, want := current, max(current, 256<<10)
	if name == vectors.VectorIndex && s.layout.Method == vectors.HNSW {
		want = max(current, rows*(item+int64(s.layout.M)*2*16+256)/1024*5/4)
	}
	if name == vectors.VectorIndex && s.layout.Method == vectors.IVFFlat {
		lists := int64(s.layout.Lists)
		sample := max(lists*vectors.RowsPerList, 10000)
		// Source: pgvector src/ivfkmeans.c, CheckMemory: centres, sample, bounds.
		least = max(least, (sample*(item+4*lists+16)+lists*(4*item+4*lists+64))/1024*11/10)
	}
	const most = 1<<31 - 1
	return min(max(least, min(want, cache/4)), most)
}
