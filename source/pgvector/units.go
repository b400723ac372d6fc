package pgvector

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

// sizes are the dimensions that embedding models usually have.
var sizes = []int{64, 96, 128, 192, 256, 300, 312, 320, 384, 512, 640, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048, 2304, 2560, 3072, 3584, 3840}

// Dimension is that of a collection's embeddings, where the last element that
// is not 0.0 in all its vectors is number used (from 1) and the column has
// width elements: the smallest usual size that loses nothing, else the
// column's. Open WebUI pads shorter embeddings with 0.0 up to the column's
// width and keeps their dimension nowhere. An embedding model does not end
// every vector in 0.0, so the last element used tells the dimension but for a
// few elements, and models come in few sizes. Whatever is taken, no element
// other than 0.0 is cut off ([vectors.Parse]); where the guess is wrong (a model
// of another size), records only keep zeros behind their end, which changes no
// score.
func Dimension(used, width int) int {
	for _, n := range sizes {
		if n >= used && n < width {
			return n
		}
	}
	return width
}

// used is the SQL of the last element that is not 0.0, from 1: the binary form
// without the zero bytes at its end. Its head is four bytes long. It needs
// PostgreSQL 14 (rtrim of bytea); -0.0 counts as used.
func used(l vectors.PGLayout) string {
	width := 4
	if l.HalfVec {
		width = 2
	}
	return fmt.Sprintf(`greatest(0, (length(rtrim(%s_send(vector), '\x00'::bytea)) - 4 + %d) / %d)`, l.TypeName(), width-1, width)
}

// sample is how many vectors of a collection are looked at first.
const sample = 8

// collections lists names, counts and dimensions. Without Config.Dim a few
// vectors of each collection are looked at: when one of them fills the column,
// the collection has its dimension. The others take one pass over all their
// vectors on the server; a collection of nothing but zeros has the dimension of
// the others, if they have only one.
func (s *Source) collections(ctx context.Context) (units []pipeline.Unit, err error) {
	find := s.cfg.Dim == 0
	column := "0"
	if find {
		column = fmt.Sprintf("(SELECT coalesce(max(%s), 0) FROM (SELECT vector FROM %s s WHERE s.collection_name = c.collection_name LIMIT %d) s)", used(s.layout), s.table, sample)
	}
	err = s.view(ctx, func(q pg.Querier) error {
		if units, err = listed(ctx, q, "SELECT collection_name, n, "+column+" FROM (SELECT collection_name, count(*) AS n FROM "+s.table+` GROUP BY collection_name) c ORDER BY collection_name COLLATE "C"`); err != nil || !find {
			return err
		}
		return s.longest(ctx, q, units)
	})
	seen := map[int]bool{}
	for i := range units {
		switch u := &units[i]; {
		case !find:
			u.Dim = s.cfg.Dim
		case u.Dim > 0:
			u.Dim = Dimension(u.Dim, s.layout.MaxLength)
			seen[u.Dim] = true
		}
	}
	if len(seen) == 1 {
		for n := range seen {
			for i := range units {
				units[i].Dim = n
			}
		}
	}
	return units, err
}

// longest makes the Dim of units, the last element used in a few vectors, that
// of all their vectors. Where it is the whole column already, no vector is read.
func (s *Source) longest(ctx context.Context, q pg.Querier, units []pipeline.Unit) error {
	at, names := map[string]int{}, []string(nil)
	for i, u := range units {
		if Dimension(u.Dim, s.layout.MaxLength) < s.layout.MaxLength {
			at[u.Name], names = i, append(names, u.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	all, err := listed(ctx, q, "SELECT collection_name, count(*), coalesce(max("+used(s.layout)+"), 0) FROM "+s.table+" WHERE collection_name = ANY ($1) GROUP BY collection_name", names)
	for _, u := range all {
		units[at[u.Name]].Dim = u.Dim
	}
	return err
}

// listed reads units from names, counts and dimensions.
func listed(ctx context.Context, q pg.Querier, sql string, args ...any) ([]pipeline.Unit, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (pipeline.Unit, error) {
		u := pipeline.Unit{Lane: pipeline.Vectors}
		err := row.Scan(&u.Name, &u.Records, &u.Dim)
		return u, err
	})
}

// Split cuts a collection into ranges of ids with the same number of records.
func (s *Source) Split(ctx context.Context, u pipeline.Unit, n int) ([]pipeline.Part, error) {
	n = int(min(int64(n), max(u.Records, 1)))
	at := make([]float64, n-1)
	for i := range at {
		at[i] = float64(i+1) / float64(n)
	}
	var ids []string
	if n > 1 {
		err := s.view(ctx, func(q pg.Querier) error {
			return q.QueryRow(ctx, "SELECT percentile_disc($2::float8[]) WITHIN GROUP (ORDER BY id) FROM "+s.table+" WHERE collection_name = $1", u.Name, at).Scan(&ids)
		})
		if err != nil {
			return nil, classify("cutting "+u.ID(), err)
		}
	}
	var parts []pipeline.Part
	from := pipeline.Cursor("")
	for _, id := range ids {
		if to := cursor(id); to != from {
			parts = append(parts, pipeline.Part{Unit: u, N: len(parts), From: from, To: to})
			from = to
		}
	}
	return append(parts, pipeline.Part{Unit: u, N: len(parts), From: from}), nil
}

// Identity names the database and schema. The state is the number of records
// and the sum of the transactions that wrote them: an insert, an update and a
// delete each change it.
func (s *Source) Identity(ctx context.Context) (pipeline.Identity, error) {
	stable, err := pg.Fingerprint(ctx, s.pool)
	if err != nil {
		return pipeline.Identity{}, err
	}
	id := pipeline.Identity{Stable: "pgvector " + stable}
	err = s.view(ctx, func(q pg.Querier) error {
		return q.QueryRow(ctx, "SELECT count(*)::text || ' records, transactions ' || coalesce(sum(xmin::text::bigint), 0)::text FROM "+s.table).Scan(&id.State)
	})
	return id, classify("looking at the source's state", err)
}
