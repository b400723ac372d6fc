package chroma

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// errStop ends each early without an error.
var errStop = errors.New("enough")

// each calls fn with every row. The values are the driver's own (int64,
// float64, string, []byte, nil) and, strings and blobs included, may be kept;
// the slice itself is reused. It speaks to the driver directly: database/sql's
// Scan costs more than reading the row does.
func each(ctx context.Context, db *sql.DB, fn func(row []driver.Value) error, query string, args ...any) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	err = conn.Raw(func(dc any) (err error) {
		named := make([]driver.NamedValue, len(args))
		for i, a := range args {
			named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
		}
		rows, err := dc.(driver.QueryerContext).QueryContext(ctx, query, named)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		row := make([]driver.Value, len(rows.Columns()))
		for {
			switch err := rows.Next(row); {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return err
			}
			if err := fn(row); err != nil {
				return err
			}
		}
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// one reads the only row of a query, found false when there is none.
func one(ctx context.Context, db *sql.DB, query string, args ...any) (row []driver.Value, found bool, err error) {
	err = each(ctx, db, func(r []driver.Value) error {
		row, found = append([]driver.Value(nil), r...), true
		return errStop
	}, query, args...)
	return row, found, err
}

// columns lists the columns of a table; none when there is no such table.
func columns(ctx context.Context, db *sql.DB, table string) (map[string]bool, error) {
	cols := map[string]bool{}
	err := each(ctx, db, func(r []driver.Value) error {
		cols[str(r[0])] = true
		return nil
	}, "SELECT name FROM pragma_table_info(?)", table)
	if err != nil {
		return nil, fmt.Errorf("looking at table %s: %w", table, err)
	}
	return cols, nil
}

// str gives a text column, "" for NULL.
func str(v driver.Value) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}

// num gives an integer column, 0 for NULL. A sequence number of chromadb before
// 1.0 is a blob, big endian.
func num(v driver.Value) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case []byte:
		n := int64(0)
		for _, b := range v {
			n = n<<8 | int64(b)
		}
		return n
	}
	return 0
}
