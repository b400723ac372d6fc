// Package scratch makes a database beside the target's, for a migration that is
// only looked at, and removes it again.
//
// What it makes is marked by a comment on the database, which names the rehearsal
// that it was made for. A database gets its name only when it has its mark, so
// there is never one of that name without it. What has no mark, or another
// rehearsal's, is neither used nor removed.
package scratch

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// Name is that of a scratch database when nobody names another.
const Name = "outgrow_rehearsal"

// Mark begins the comment of a scratch database; the rehearsal's id follows it.
// A database that was made by hand for a rehearsal has the mark alone.
const Mark = "outgrow rehearsal"

// making begins the name that a database has until it is marked.
const making = "outgrow_making_"

// Marked reports whether a database's comment says that it is one of a rehearsal.
func Marked(comment string) bool {
	return comment == Mark || strings.HasPrefix(comment, Mark+" ")
}

// Of is the comment of a rehearsal's own database.
func Of(id string) string { return Mark + " " + id }

// CheckName refuses what would have to be quoted, or is too long for PostgreSQL.
func CheckName(name string) error {
	if !regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`).MatchString(name) {
		return pipeline.Usage("reading --database", fmt.Errorf("%q is no plain name of a database", name), "lower-case letters, digits and _, at most 63 of them")
	}
	return nil
}

// Server is the server of the target's database.
type Server struct{ pool *pgxpool.Pool }

// Open connects to the target's database, in which nothing is changed.
func Open(ctx context.Context, target env.Secret) (*Server, error) {
	pool, err := pg.Open(ctx, target, pg.Options{MaxConns: 1})
	if err != nil {
		return nil, err
	}
	return &Server{pool}, nil
}

// Close closes the connection.
func (s *Server) Close() { s.pool.Close() }

// Database is what a look at the server's list of databases finds.
type Database struct {
	There   bool
	Comment string
}

const commentSQL = "coalesce(shobj_description(oid, 'pg_database'), '')"

func markSQL(name, id string) string {
	return "COMMENT ON DATABASE " + pg.Ident(name) + " IS " + pg.Literal(Of(id))
}

// Apart refuses a target that is a rehearsal's database, or the one of that name.
func (s *Server) Apart(ctx context.Context, name string) error {
	const op = "looking at the target's database"
	var is, comment string
	if err := s.pool.QueryRow(ctx, "SELECT datname::text, "+commentSQL+" FROM pg_database WHERE datname = current_database()").Scan(&is, &comment); err != nil {
		return pg.Classify(op, err)
	}
	switch {
	case Marked(comment):
		return pipeline.Usage(op, fmt.Errorf("%s is the database of a rehearsal, not a target", is), "name with --to the deployment that is rehearsed for")
	case is == name:
		return pipeline.Usage(op, fmt.Errorf("%s is the target's own database: a rehearsal has another", is), "name another one with --database")
	}
	return nil
}

// Look looks for a database of that name.
func (s *Server) Look(ctx context.Context, name string) (Database, error) {
	d := Database{There: true}
	err := s.pool.QueryRow(ctx, "SELECT "+commentSQL+" FROM pg_database WHERE datname = $1", name).Scan(&d.Comment)
	if errors.Is(err, pgx.ErrNoRows) {
		return Database{}, nil
	}
	return d, pg.Classify("looking for the database "+name, err)
}

// Schema is the one that the role's tables are made in where DATABASE_SCHEMA names
// none, "" for none.
func (s *Server) Schema(ctx context.Context) (name string, err error) {
	err = s.pool.QueryRow(ctx, "SELECT coalesce(current_schema()::text, '')").Scan(&name)
	return name, pg.Classify("asking for the schema", err)
}

// Make makes an empty database, in UTF-8 and sorted as the target's is, with the
// rehearsal's mark. It may be repeated after it was interrupted.
func (s *Server) Make(ctx context.Context, name, id string) error {
	const op = "making the scratch database"
	if err := s.unmake(ctx, id); err != nil {
		return err
	}
	var collate, ctype, role string
	if err := s.pool.QueryRow(ctx, `SELECT datcollate::text, datctype::text, quote_ident(current_user) FROM pg_database WHERE datname = current_database()`).Scan(&collate, &ctype, &role); err != nil {
		return pg.Classify(op, err)
	}
	err := s.exec(ctx, "CREATE DATABASE "+pg.Ident(making+id)+" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE "+pg.Literal(collate)+" LC_CTYPE "+pg.Literal(ctype))
	if pg.HasCode(err, "42501") { // insufficient_privilege
		return pipeline.Environment(op, err, fmt.Sprintf("as superuser: ALTER ROLE %s CREATEDB; or make it for this role: CREATE DATABASE %s OWNER %s TEMPLATE template0 ENCODING 'UTF8', then COMMENT ON DATABASE %s IS '%s', and, for the vectors, CREATE EXTENSION vector in it", role, name, role, name, Mark))
	}
	if err == nil {
		err = s.exec(ctx, markSQL(making+id, id))
	}
	if err == nil {
		err = s.exec(ctx, "ALTER DATABASE "+pg.Ident(making+id)+" RENAME TO "+pg.Ident(name))
	}
	return pg.Classify(op, err)
}

// unmake removes what an interrupted Make may have left, which its server may still
// be making. Nobody else makes a database of that name, as nobody else knows the id.
func (s *Server) unmake(ctx context.Context, id string) error {
	for {
		var busy bool
		err := s.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state = 'active' AND position($1 IN query) > 0)", making+id).Scan(&busy)
		if err != nil {
			return pg.Classify("looking for what is half made", err)
		}
		if !busy {
			break
		}
		if err := pipeline.Sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return pg.Classify("removing what was left half made", s.exec(ctx, "DROP DATABASE IF EXISTS "+pg.Ident(making+id)))
}

// Drop removes the rehearsal's database, and what an interrupted Make has left of
// it. A database of that name with another mark is left alone, and told of.
func (s *Server) Drop(ctx context.Context, name, id string) (dropped bool, err error) {
	const op = "removing the scratch database"
	if err := s.unmake(ctx, id); err != nil {
		return false, err
	}
	d, err := s.Look(ctx, name)
	if err != nil || !d.There {
		return false, err
	}
	if d.Comment != Of(id) {
		return false, pipeline.Usage(op, fmt.Errorf("the database %s is not the one that this rehearsal made: its comment is another. It is not removed", name),
			"see what it is (psql shows the comments with \\l+); drop it or rename it by hand, then run the same command")
	}
	err = s.exec(ctx, "DROP DATABASE "+pg.Ident(name))
	if pg.HasCode(err, "55006") { // object_in_use
		return false, pipeline.Environment(op, err, "stop the Open WebUI that was started on "+name+" and whatever else is connected to it, then run the same command")
	}
	return err == nil, pg.Classify(op, err)
}

// NotOurs refuses to write to a database that this rehearsal has not made.
func NotOurs(op, name string) error {
	return pipeline.Usage(op, fmt.Errorf("the database %s is there, and this rehearsal has not made it: nothing is written to it", name),
		"name another one with --database; an empty one that is meant for a rehearsal is marked by: COMMENT ON DATABASE "+name+" IS '"+Mark+"'")
}

func (s *Server) exec(ctx context.Context, sql string) error {
	// Without arguments it goes by the simple protocol: CREATE and DROP DATABASE
	// cannot stand in a transaction.
	_, err := s.pool.Exec(ctx, sql)
	return err
}
