package main

import (
	"outgrow/mappings/pg"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
	sink "outgrow/sink/pgvector"
	"outgrow/source/chroma"
	back "outgrow/source/pgvector"
	"outgrow/source/sqlite"
)

func (o *opener) openVectors(rows *sqlite.Source) error {
	l := &lane[*pipeline.Vector]{kind: pipeline.Vectors, workers: o.flags.Writers, log: o.log, decode: decodeVector}
	o.lanes = append(o.lanes, l)
	src, err := chroma.Open(o.ctx, chroma.Config{Dir: o.from.Vector.Path, Tenant: o.from.Vector.Chroma.Tenant, Database: o.from.Vector.Chroma.Database,
		AllowMissing: true, Stopped: rows.Mode() != sqlite.Live, Private: o.private(), Limits: o.limits(), Log: o.log})
	if err != nil {
		return err
	}
	l.source = src
	if l.units, err = src.Units(o.ctx); err != nil {
		return err
	}
	dst, err := sink.Open(o.ctx, sink.Config{PG: o.to.Vector.PG, Schema: o.to.Database.Schema, Log: o.log, Writers: o.flags.Writers,
		Replace: o.opt.replace, RowsHere: o.flags.pick(pipeline.Rows)})
	if err != nil {
		return err
	}
	l.sink, l.journal = dst, dst.Journal()
	l.fingerprint = pg.FingerprintOf(dst.Pool())
	l.transforms = []pipeline.Transform[*pipeline.Vector]{vectors.Transform(o.to.Vector.PG)}
	l.equal = vectors.Compare(o.to.Vector.PG)
	o.dst.vectors = vectorsText(o.to.Vector.PG)
	if !o.opt.verify {
		return nil
	}
	target, err := back.Open(o.ctx, back.Config{PG: o.to.Vector.PG, Readers: o.flags.Writers + 1})
	if err != nil {
		return err
	}
	l.back = target
	return nil
}
