package pg

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/pipeline"
)

// ErrSnapshotLost says that the transaction which kept a snapshot is gone: what
// is read from now on would be of another moment.
var ErrSnapshotLost = errors.New("the connection that held the snapshot of the database was cut")

const snapshotHint = "nothing is lost: run the same command again, it goes on from here on a new snapshot, and a sync pass brings over what was written in between"

// SnapshotOptions of [TakeSnapshot].
type SnapshotOptions struct {
	// Lock names tables (quoted, with their schemas) that keep their shape and
	// their storage as long as the snapshot lasts, as pg_dump does it: a
	// TRUNCATE would empty them on every snapshot. Reading and writing them goes
	// on, what changes their definition waits.
	Lock []string
	// Alive is how often the transaction is used, so that nothing on the way
	// takes the connection for a dead one; 0 means 20 s.
	Alive time.Duration
}

// Snapshot is what one transaction sees, for other connections to see it too. It
// holds a connection of its pool. It is safe for concurrent use.
type Snapshot struct {
	pool  *pgxpool.Pool
	begin string
	stop  context.CancelFunc
	ended chan struct{}

	mu   sync.Mutex
	lost error
}

// TakeSnapshot begins the transaction that keeps a snapshot until Close. Source:
// PostgreSQL's documentation of pg_export_snapshot, SET TRANSACTION and LOCK.
func TakeSnapshot(ctx context.Context, pool *pgxpool.Pool, opt SnapshotOptions) (*Snapshot, error) {
	const op = "taking a snapshot of the database"
	c, err := pool.Acquire(ctx)
	if err != nil {
		return nil, Classify(op, err)
	}
	// LOCK takes no snapshot, so the one that follows is of after the locks. The
	// wait for them must not hold up others who wait behind.
	sql := "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = '5s';"
	for _, t := range opt.Lock {
		sql += " LOCK TABLE " + t + " IN ACCESS SHARE MODE;"
	}
	var id string
	if _, err = c.Exec(ctx, sql); err == nil {
		err = c.QueryRow(ctx, "SELECT pg_export_snapshot()").Scan(&id)
	}
	if err != nil {
		c.Release() // which ends a connection in a transaction
		if HasCode(err, "55P03") {
			return nil, pipeline.Environment(op, pipeline.Transient(err), "a table is being changed or truncated: let that end (is Open WebUI being upgraded?), then run the same command")
		}
		return nil, Classify(op, err)
	}
	if opt.Alive <= 0 {
		opt.Alive = 20 * time.Second
	}
	alive, stop := context.WithCancel(context.WithoutCancel(ctx))
	// The id is the server's own word: digits and hyphens.
	s := &Snapshot{pool: pool, stop: stop, ended: make(chan struct{}),
		begin: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '" + id + "'"}
	go s.keep(alive, c, opt.Alive)
	return s, nil
}

// keep uses the connection now and then until Close, or until it is lost.
func (s *Snapshot) keep(ctx context.Context, c *pgxpool.Conn, every time.Duration) {
	defer close(s.ended)
	defer c.Release() // in a transaction: the connection ends with it
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := c.Exec(ctx, "SELECT 1"); err != nil && ctx.Err() == nil {
			_ = s.lose(err)
			return
		}
	}
}

func (s *Snapshot) lose(cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost == nil {
		s.lost = pipeline.Environment("reading on the snapshot", errors.Join(ErrSnapshotLost, cause), snapshotHint)
	}
	return s.lost
}

// Lost is the error of a snapshot that is gone, else nil.
func (s *Snapshot) Lost() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// Begin begins a read-only transaction on the snapshot. Once the snapshot is
// lost the error is ErrSnapshotLost, which no retry heals.
func (s *Snapshot) Begin(ctx context.Context) (pgx.Tx, error) { return s.BeginOn(ctx, s.pool) }

// BeginOn is Begin on a connection of another pool to the same database.
func (s *Snapshot) BeginOn(ctx context.Context, pool *pgxpool.Pool) (pgx.Tx, error) {
	if err := s.Lost(); err != nil {
		return nil, err
	}
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: s.begin})
	if HasCode(err, "22023", "42704", "55000") {
		return nil, s.lose(err)
	}
	return tx, err
}

// Close ends the snapshot; it may be called again.
func (s *Snapshot) Close() {
	s.stop()
	<-s.ended
}
