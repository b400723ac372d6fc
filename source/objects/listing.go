package objects

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	layout "outgrow/mappings/files"
	"outgrow/mappings/objects"
	"outgrow/mappings/spool"
)

// listing keeps what the bucket has listed on disk, by key.
type listing struct{ *spool.DB }

// kept is what the spool is made for, in words.
const kept = "names of the objects"

const schema = `CREATE TABLE obj (key BLOB PRIMARY KEY, bytes INTEGER NOT NULL, modified INTEGER, crc TEXT NOT NULL, md5 TEXT NOT NULL, sha TEXT NOT NULL, version TEXT NOT NULL) WITHOUT ROWID`

const columns = "key, bytes, modified, crc, md5, sha, version"

func openListing(parent string) (*listing, error) {
	db, err := spool.Open(parent, kept, schema)
	if err != nil {
		return nil, err
	}
	return &listing{db}, nil
}

// ignored tells what is no record: a folder, and what outgrow has not finished.
func ignored(info objects.Info) bool {
	base := info.Key[strings.LastIndexByte(info.Key, '/')+1:]
	return base == "" && info.Bytes == 0 || strings.HasPrefix(base, layout.PartialPrefix)
}

// fill lists the bucket, from its beginning. An error of the bucket is returned
// as it is.
func (l *listing) fill(ctx context.Context, b objects.Bucket) error {
	const op = "keeping the listing"
	if _, err := l.Exec("DELETE FROM obj"); err != nil {
		return spool.Failed(kept, op, err)
	}
	batch := make([]objects.Info, 0, page)
	for info, err := range b.List(ctx) {
		if err != nil {
			return fmt.Errorf("listing the objects: %w", err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if ignored(info) {
			continue
		}
		if batch = append(batch, info); len(batch) == page {
			if err := l.add(batch); err != nil {
				return spool.Failed(kept, op, err)
			}
			batch = batch[:0]
		}
	}
	return spool.Failed(kept, op, l.add(batch))
}

// add keeps some objects. A key that is listed twice is the one that came last.
func (l *listing) add(infos []objects.Info) error {
	tx, err := l.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	insert, err := tx.Prepare("INSERT OR REPLACE INTO obj (" + columns + ") VALUES (?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer insert.Close()
	for _, info := range infos {
		var modified any
		if !info.ModTime.IsZero() {
			modified = info.ModTime.UnixNano()
		}
		// A nil slice would be NULL.
		if _, err := insert.Exec(append([]byte{}, info.Key...), info.Bytes, modified, info.Sums.CRC32C, info.Sums.MD5, info.Sums.SHA256, info.Version); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// scan reads one row of the columns.
func scan(row interface{ Scan(...any) error }) (info objects.Info, err error) {
	var key []byte
	var modified sql.NullInt64
	err = row.Scan(&key, &info.Bytes, &modified, &info.Sums.CRC32C, &info.Sums.MD5, &info.Sums.SHA256, &info.Version)
	info.Key = string(key)
	if modified.Valid {
		info.ModTime = time.Unix(0, modified.Int64).UTC()
	}
	return info, err
}

// page gives up to limit objects behind a key (nil for all), up to and with to
// ("" for the end), in order.
func (l *listing) page(after []byte, to string, limit int) (out []objects.Info, err error) {
	var where []string
	var args []any
	if after != nil {
		where, args = append(where, "key > ?"), append(args, after)
	}
	if to != "" {
		where, args = append(where, "key <= ?"), append(args, []byte(to))
	}
	query := "SELECT " + columns + " FROM obj"
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	rows, err := l.Query(query+" ORDER BY key LIMIT ?", append(args, limit)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		info, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, info)
	}
	return out, rows.Err()
}

// find gives those of the keys that are there.
func (l *listing) find(keys []string) (out []objects.Info, err error) {
	one, err := l.Prepare("SELECT " + columns + " FROM obj WHERE key = ?")
	if err != nil {
		return nil, err
	}
	defer one.Close()
	for _, k := range keys {
		info, err := scan(one.QueryRow([]byte(k)))
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return nil, err
		default:
			out = append(out, info)
		}
	}
	return out, nil
}

// summary is what there is in all; mark is a digest over key, size and version
// of every object.
type summary struct {
	objects, bytes int64
	mark           string
}

func (l *listing) summary() (sum summary, err error) {
	h := sha256.New()
	var after []byte
	for {
		infos, err := l.page(after, "", page)
		if err != nil {
			return sum, spool.Failed(kept, "reading the listing", err)
		}
		for _, info := range infos {
			sum.objects++
			sum.bytes += info.Bytes
			version := info.Version
			if version == "" && !info.ModTime.IsZero() {
				version = info.ModTime.UTC().Format(time.RFC3339Nano)
			}
			_, _ = fmt.Fprintf(h, "%d:%s%d %d:%s", len(info.Key), info.Key, info.Bytes, len(version), version)
		}
		if len(infos) < page {
			sum.mark = hex.EncodeToString(h.Sum(nil)[:8])
			return sum, nil
		}
		after = []byte(infos[len(infos)-1].Key)
	}
}
