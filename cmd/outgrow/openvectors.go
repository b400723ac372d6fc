package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	"outgrow/source/sqlite"
)

// openVectors opens the lane of vectors for whatever stores the two sides have.
func (o *opener) openVectors() error {
	from, _ := storeOf(o.from.Vector)
	to, _ := storeOf(o.to.Vector)
	l := &lane[*pipeline.Vector]{kind: pipeline.Vectors, workers: cmp.Or(o.flags.Writers, to.writers), log: o.log, decode: decodeVector, rate: pipeline.NewLimiter(o.flags.Rate)}
	o.lanes = append(o.lanes, l)
	if err := o.apart(from, to); err != nil {
		return err
	}
	side := storeSide{v: o.from.Vector, log: o.log, workers: l.workers, dim: o.flags.Dim, private: o.private(), fs: o.app.fs, ids: o.ids(), limits: o.vectorLimits(to)}
	side.stopped, side.snapshot = o.stopped, from.snapshots
	if rows := o.db.sqlite; rows != nil {
		side.stopped = rows.Mode() != sqlite.Live && !o.storeOpen
		id, err := rows.Identity(o.ctx)
		if err != nil {
			return err
		}
		side.stable = id.Stable
	}
	if from.spools || to.spools {
		if err := os.MkdirAll(side.private, 0o700); err != nil {
			return pipeline.Environment("making a folder for temporary files", err, "name a writable folder with --state")
		}
	}
	if err := o.share(&side, from); err != nil {
		return err
	}
	src, err := from.source(o.ctx, side)
	if err != nil {
		return err
	}
	l.source = src
	if from.snapshots {
		l.now = func(ctx context.Context) (pipeline.Identity, error) { return identityNow(ctx, from, side) }
	}
	if l.units, err = l.source.Units(o.ctx); err != nil {
		return err
	}
	if err := o.vectorTarget(o.ctx, l, to, storeSide{log: o.log, workers: l.workers, replace: o.opt.replace, rowsHere: o.flags.pick(pipeline.Rows), ids: side.ids, fs: o.app.fs}); err != nil {
		return err
	}
	conflicts, err := o.findConflicts(from, to, l)
	if err != nil {
		return err
	}
	if conflicts != nil {
		o.conflicts = conflicts
		l.transforms = append([]vectorChange{conflicts.transform}, l.transforms...)
	}
	o.dst.vectors, o.srcStore = to.describe(o.to.Vector), from.describe(o.from.Vector)
	if !o.opt.verify {
		return nil
	}
	if f, ok := l.sink.(interface{ Fits(context.Context) error }); ok && !o.opt.write {
		if err := f.Fits(o.ctx); err != nil {
			return err
		}
	}
	// Nobody uses a store that is compared; one that is written to meanwhile is
	// read from a copy.
	back, err := to.source(o.ctx, storeSide{v: o.to.Vector, log: o.log, workers: l.workers, private: side.private, ids: side.ids, fs: o.app.fs, stopped: !o.opt.write})
	if err != nil {
		return err
	}
	l.back = back
	return nil
}

// share lets the vectors be read as they were when the rows were, where one
// database holds both.
func (o *opener) share(side *storeSide, from vectorStore) error {
	if from.kind != env.PGVector || o.db.pg == nil || o.db.whole == nil {
		return nil
	}
	a, err := databasePlace(o.ctx, env.Database{URL: o.from.Vector.PG.URL})
	if err != nil {
		return err
	}
	b, err := databasePlace(o.ctx, env.Database{URL: o.from.Database.URL})
	if err == nil && a == b {
		side.shared = o.db.pg.Snapshot()
	}
	return err
}

// identityNow looks at a source anew.
func identityNow(ctx context.Context, from vectorStore, side storeSide) (pipeline.Identity, error) {
	side.snapshot, side.shared = false, nil
	src, err := from.source(ctx, side)
	if err != nil {
		return pipeline.Identity{}, err
	}
	defer src.Close()
	i, ok := src.(pipeline.Identifier)
	if !ok {
		return pipeline.Identity{}, errors.ErrUnsupported
	}
	return i.Identity(ctx)
}

// vectorTarget opens the lane's sink, its journal and what makes records of it.
func (s *session) vectorTarget(ctx context.Context, l *lane[*pipeline.Vector], to vectorStore, side storeSide) error {
	side.v, side.schema = s.to.Vector, s.to.Database.Schema
	state, err := s.ownJournal(ctx, to)
	if err != nil {
		return err
	}
	if state != nil {
		l.journal, l.own, side.journal = state, true, state
	}
	dst, fingerprint, err := to.sink(ctx, side)
	if err != nil {
		return err
	}
	l.sink, l.fingerprint = dst, fingerprint
	if t, ok := l.sink.(pipeline.Transactional); ok {
		l.journal = t.Journal()
	}
	l.replace = side.replace
	l.transforms = []vectorChange{to.transform(s.to.Vector, dst, s.idConflicts == mapIDs)}
	if to.processes(s.from.Vector, s.to.Vector) {
		l.transforms = append([]vectorChange{vectors.Processed()}, l.transforms...)
	}
	l.equal = to.compare(s.to.Vector)
	return nil
}

// ownJournal opens the journal of a store that keeps none; nil for others.
func (s *session) ownJournal(ctx context.Context, to vectorStore) (pipeline.Journal, error) {
	if to.transactional {
		return nil, nil
	}
	var forbidden []string
	if s.from.Mount != "" {
		forbidden = append(forbidden, s.from.Mount)
	}
	return localstate.Open(ctx, s.state, pipeline.Vectors, forbidden...)
}

// vectorLimits bounds a batch of vectors: what the flag says, else what suits
// the target. With a limit of the rate a batch is what may be written in a
// second at most.
func (o *opener) vectorLimits(to vectorStore) pipeline.Limits {
	l := pipeline.Limits{Records: to.records, Bytes: cmp.Or(max(o.flags.Batch, 0), to.batch) << 20}
	if r := int(o.flags.Rate); o.flags.Rate > 0 && (l.Records == 0 || r < l.Records) {
		l.Records = min(max(r, 1), 1000)
	}
	return l
}

// apart refuses a target that is the source itself.
func (o *opener) apart(from, to vectorStore) error {
	if from.kind != to.kind || from.embedded != to.embedded {
		return nil
	}
	a, err := from.place(o.ctx, o.from.Vector)
	if err != nil {
		return fmt.Errorf("looking for the source of the vectors: %w", err)
	}
	b, err := to.place(o.ctx, o.to.Vector)
	if err != nil {
		return fmt.Errorf("looking for the target of the vectors: %w", err)
	}
	if a != b {
		return nil
	}
	return pipeline.Usage("comparing the two sides", errors.New("both name the same vector store, with the same layout and prefix: there is nothing to move"), cmp.Or(to.apartBy, "name another database on one side")+", or leave the vectors out with --only")
}
