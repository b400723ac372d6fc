package sqlite

import "sync"

// second is another connection. It is opened when it is first needed.
type second struct {
	mu     sync.Mutex
	conn   conn
	closed bool
}

// conn is a connection and the statements that are kept for it.
type conn struct {
	db    *database
	stmts map[string]*statement
}

// borrow gives a statement that is kept, with its connection for the caller alone
// until free is called.
func (s *Source) borrow(sql string) (st *statement, free func(), err error) {
	c, give, err := s.take()
	if err != nil {
		return nil, nil, err
	}
	if st, err = c.kept(sql); err != nil {
		give()
		return nil, nil, err
	}
	return st, func() { st.reset(); give() }, nil
}

// take gives a connection for the caller alone until free is called. A database in
// use is read by one connection: two could not be sure to see it as it was at one
// moment.
func (s *Source) take() (c conn, free func(), err error) {
	if s.mode == Stopped && !s.mu.TryLock() {
		if s.second.mu.TryLock() {
			if c, err = s.second.open(s); err != nil {
				s.second.mu.Unlock()
				return conn{}, nil, err
			}
			return c, s.second.mu.Unlock, nil
		}
		s.mu.Lock()
	} else if s.mode != Stopped {
		s.mu.Lock()
	}
	if s.db == nil {
		s.mu.Unlock()
		return conn{}, nil, errClosed
	}
	return conn{s.db, s.stmts}, s.mu.Unlock, nil
}

// kept prepares a statement where it is not kept yet.
func (c conn) kept(sql string) (*statement, error) {
	if st := c.stmts[sql]; st != nil {
		return st, nil
	}
	st, err := c.db.prepare(sql)
	if err == nil {
		c.stmts[sql] = st
	}
	return st, err
}

// last is the place of the statement that latest keeps.
const last = ""

// latest gives a statement and keeps it until another one is asked for: the same
// one is often asked for again, with other parameters.
func (c conn) latest(sql string) (*statement, error) {
	was := c.stmts[last]
	if was != nil && was.sql == sql {
		return was, nil
	}
	st, err := c.db.prepare(sql)
	if err != nil {
		return nil, err
	}
	if was != nil {
		was.finalize()
	}
	c.stmts[last] = st
	return st, nil
}

// open is called with the lock held.
func (c *second) open(s *Source) (conn, error) {
	if c.closed {
		return conn{}, errClosed
	}
	if c.conn.db == nil {
		db, err := s.begin(s.uri)
		if err != nil {
			return conn{}, err
		}
		c.conn = conn{db, map[string]*statement{}}
	}
	return c.conn, nil
}

func (c *second) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.conn.db == nil {
		return nil
	}
	err := c.conn.db.end(c.conn.stmts)
	c.conn.db = nil
	return err
}
