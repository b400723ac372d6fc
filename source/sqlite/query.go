package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

var errClosed = errors.New("the source is closed")

// exec runs a statement without rows.
func (d *database) exec(sql string) error {
	st, err := d.prepare(sql)
	if err != nil {
		return err
	}
	defer st.finalize()
	_, err = st.step()
	return err
}

// end ends the transaction and closes the connection.
func (d *database) end(stmts map[string]*statement) error {
	for _, st := range stmts {
		st.finalize()
	}
	_ = d.exec("ROLLBACK") // nothing was written
	return d.close()
}

// each runs a query and hands over its rows; the slice is reused, what stands
// in it is not. Cancelling ctx interrupts it.
func (s *Source) each(ctx context.Context, sql string, row func([]any) error, args ...any) error {
	c, free, err := s.take()
	if err != nil {
		return err
	}
	defer free()
	st, err := c.latest(sql)
	if err != nil {
		return s.refused(err)
	}
	if err := st.bind(args); err != nil {
		return err
	}
	defer st.reset()
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		c.db.interrupt()
	})
	defer func() {
		if !stop() {
			<-ended // the next statement must not be hit
		}
	}()
	vals := make([]any, st.width)
	var texts arena
	for {
		more, err := st.step()
		if err := ctx.Err(); err != nil {
			return err
		}
		if err != nil {
			return s.refused(err)
		}
		if !more {
			return s.quiet()
		}
		for i := range vals {
			vals[i] = st.column(i, &texts)
		}
		if err := row(vals); err != nil {
			return err
		}
	}
}

// refused names the database and the next step where SQLite could not read it. A
// statement that it does not understand is no matter of the file.
func (s *Source) refused(err error) error {
	var se *sqliteError
	if errors.As(err, &se) && se.code&0xff != codeError {
		return openError(s.path, err)
	}
	return err
}

// number runs a query whose answer is one integer.
func (s *Source) number(ctx context.Context, sql string, args ...any) (n int64, err error) {
	err = s.each(ctx, sql, func(v []any) error {
		n, _ = v[0].(int64)
		return nil
	}, args...)
	return n, err
}

// asText gives a value as SQLite's CAST to TEXT would, "" for NULL.
func asText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return string(v)
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return fmt.Sprint(v)
}

func join[T any](list []T, sep string, f func(T) string) string {
	var b strings.Builder
	for i, v := range list {
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(f(v))
	}
	return b.String()
}
