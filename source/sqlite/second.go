package sqlite

import "sync"

// second is another connection, for batches alone. It is opened when it is first
// needed.
type second struct {
	mu     sync.Mutex
	db     *database
	stmts  map[string]*statement
	closed bool
}

// borrow gives a statement that is kept, with its connection for the caller alone
// until free is called. A database in use is read by one connection: two could not
// be sure to see it as it was at one moment.
func (s *Source) borrow(sql string) (st *statement, free func(), err error) {
	if s.mode == Stopped && !s.mu.TryLock() {
		if s.second.mu.TryLock() {
			if st, err = s.second.statement(s, sql); err != nil {
				s.second.mu.Unlock()
				return nil, nil, err
			}
			return st, func() { st.reset(); s.second.mu.Unlock() }, nil
		}
		s.mu.Lock()
	} else if s.mode != Stopped {
		s.mu.Lock()
	}
	if s.db == nil {
		s.mu.Unlock()
		return nil, nil, errClosed
	}
	if st, err = keptIn(s.stmts, s.db, sql); err != nil {
		s.mu.Unlock()
		return nil, nil, err
	}
	return st, func() { st.reset(); s.mu.Unlock() }, nil
}

// keptIn prepares a statement where it is not kept yet.
func keptIn(stmts map[string]*statement, db *database, sql string) (*statement, error) {
	if st := stmts[sql]; st != nil {
		return st, nil
	}
	st, err := db.prepare(sql)
	if err == nil {
		stmts[sql] = st
	}
	return st, err
}

// statement is called with the lock held.
func (c *second) statement(s *Source, sql string) (*statement, error) {
	if c.closed {
		return nil, errClosed
	}
	if c.db == nil {
		db, err := s.begin(s.uri)
		if err != nil {
			return nil, err
		}
		c.db, c.stmts = db, map[string]*statement{}
	}
	return keptIn(c.stmts, c.db, sql)
}

func (c *second) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.db == nil {
		return nil
	}
	err := c.db.end(c.stmts)
	c.db = nil
	return err
}
