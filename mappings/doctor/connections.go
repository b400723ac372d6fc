package doctor

import "fmt"

// The pool that SQLAlchemy makes where no size is set: 5 connections and 10
// more. Source: SQLAlchemy 2, QueuePool.
const defaultPool = 5 + 10

// pool is how many connections one process opens at most; bounded is false for
// a size of 0, which has no pool. Open WebUI uses the overflow only where the
// size is set (internal/db.py, pgvector.py).
func (f Facts) pool(name string) (most int, bounded bool) {
	size, set := f.number(name + "_POOL_SIZE")
	overflow, _ := f.number(name + "_POOL_MAX_OVERFLOW")
	switch {
	case !set:
		return defaultPool, true
	case size <= 0:
		return 0, false
	}
	return size + max(overflow, 0), true
}

// starting is how many processes open pools: the primary's, too.
func (f Facts) starting() int {
	if f.Primary {
		return f.Processes() + f.workers()
	}
	return f.Processes()
}

// room is how many connections are left for Open WebUI.
func (p *Postgres) room() int {
	n := p.MaxConnections - p.Reserved - p.InUse
	for _, limit := range []int{p.RoleLimit, p.DatabaseLimit} {
		if limit >= 0 {
			n = min(n, limit)
		}
	}
	return max(n, 0)
}

func connectionChecks() []check {
	const looked = "DATABASE_POOL_SIZE + DATABASE_POOL_MAX_OVERFLOW, times all processes"
	const symptom = "\"too many clients already\", \"QueuePool limit reached\""
	return []check{
		{"D06", Must, looked, "less than max_connections leaves after what is reserved and in use", symptom, onDatabase(rowPool), false},
		{"D07", Must, "PGVECTOR_POOL_SIZE + PGVECTOR_POOL_MAX_OVERFLOW, times all processes", "counted in: the vectors have a pool of their own, 5 and 10 unless set", symptom, vectorPool, false},
	}
}

// sum writes an account of connections down.
func (p *Postgres) sum(need, each, processes int) string {
	text := fmt.Sprintf("%d x %d processes = %d, and %d are left: max_connections %d, %d reserved, %d in use by others", each, processes, need, p.room(), p.MaxConnections, p.Reserved, p.InUse)
	if p.RoleLimit >= 0 {
		text += fmt.Sprintf(", the role's limit %d", p.RoleLimit)
	}
	if p.DatabaseLimit >= 0 {
		text += fmt.Sprintf(", the database's limit %d", p.DatabaseLimit)
	}
	return text
}

// suggest gives a pool that fits, in the proportion of 15 to 20.
func suggest(name string, budget, need int) string {
	size := max(budget*3/7, 1)
	return fmt.Sprintf("%s_POOL_SIZE=%d and %s_POOL_MAX_OVERFLOW=%d, or room for %d on the server", name, size, name, max(budget-size, 0), need)
}

const behindPooler = "a pooler stands between: its own limits count (default_pool_size, max_client_conn)"

func rowPool(f Facts, p *Postgres) verdict {
	each, bounded := f.pool("DATABASE")
	n := f.starting()
	switch {
	case p.Pooled:
		return unknown(behindPooler)
	case !bounded:
		return verdict{found: "0: there is no pool, so no bound either", line: "DATABASE_POOL_SIZE=15"}
	}
	return when(each*n > p.room(), p.sum(each*n, each, n), suggest("DATABASE", p.room()/n, each*n))
}

func vectorPool(f Facts) verdict {
	if !f.usesPGVector() {
		return verdict{}
	}
	return onServer(f, f.Answers.Vectors, func(f Facts, p *Postgres) verdict {
		each, bounded := f.pool("PGVECTOR")
		n, others := f.starting(), 0
		if d := f.Answers.Database; d != nil && d.Down == "" && d.Address == p.Address {
			others, _ = f.pool("DATABASE")
		}
		switch {
		case p.Pooled:
			return unknown(behindPooler)
		case !bounded:
			return verdict{found: "0: there is no pool, so no bound either", line: "PGVECTOR_POOL_SIZE=5"}
		case others*n > p.room():
			return verdict{} // D06 says it
		}
		return when((each+others)*n > p.room(), fmt.Sprintf("with the rows' pool of %d: ", others)+p.sum((each+others)*n, each+others, n),
			suggest("PGVECTOR", p.room()/n-others, (each+others)*n))
	})
}
