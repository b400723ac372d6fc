package main

import (
	"context"
	"slices"

	"outgrow/pipeline"
)

// besides compares what no lane does: file.path where the database stays, and
// the served files that were left behind.
func (v *verification) besides(ctx context.Context) ([]pipeline.UnitDiff, error) {
	var out []pipeline.UnitDiff
	for _, l := range v.lanes {
		files, ok := l.(*lane[*pipeline.Object])
		if !ok {
			continue
		}
		agreed, err := v.agreed(ctx, files, cacheLeft)
		if err != nil {
			return nil, err
		}
		for _, u := range v.cache.left {
			d := pipeline.UnitDiff{Unit: u.ID(), Source: u.Records}
			if agreed {
				d.Excused = u.Records
			} else if d.Missing = u.Records; u.Records > 0 {
				v.difference(pipeline.Difference{Unit: u.ID(), Kind: pipeline.Missing, Detail: plural(u.Records, "file") + " left behind: the target's DATA_DIR is not reached from here"})
			}
			out = append(out, d)
		}
		d, err := v.refusedRows(ctx, files)
		if err != nil {
			return nil, err
		}
		out = append(out, d...)
		if v.paths == nil {
			continue
		}
		var back pipeline.Getter[*pipeline.Object]
		switch r := files.back.(type) {
		case *readRoute:
			back = r.uploads
		case pipeline.Getter[*pipeline.Object]:
			back = r
		}
		one, err := v.paths.diff(ctx, back, v.difference)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// refusedRows counts as differences the rows that lead to a file of the target's
// own in place of theirs.
func (v *verification) refusedRows(ctx context.Context, l mover) ([]pipeline.UnitDiff, error) {
	rows, err := v.misledRows(ctx)
	if err != nil || len(rows.wrong) == 0 {
		return nil, err
	}
	n := int64(len(rows.wrong))
	d := pipeline.UnitDiff{Unit: "rows/file"}
	ok, err := v.agreed(ctx, l, pathOfAnother)
	if ok || err != nil {
		d.Excused = n
		return []pipeline.UnitDiff{d}, err
	}
	d.Differs = n
	for _, id := range rows.wrong {
		v.difference(pipeline.Difference{Unit: d.Unit, Key: id, Kind: pipeline.Differs, Column: "path", Detail: "leads to a file that the target had before, not to the row's own, which was refused"})
	}
	return []pipeline.UnitDiff{d}, nil
}

// agreed reports whether the operator has agreed to a reason, in plan or in
// migrate.
func (v *verification) agreed(ctx context.Context, l mover, r pipeline.Reason) (bool, error) {
	if v.consent[r] || l.Journal() == nil {
		return v.consent[r], nil
	}
	reasons, err := l.Journal().Accepted(ctx)
	return slices.Contains(reasons, r), err
}
