package pgvector

import (
	"context"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/mappings/vectors"
)

// facts are what the catalog says of the target.
type facts struct {
	database, encoding string
	mayCreate          bool   // tables in the current schema
	installed          string // version of the extension, "" when it is not in the database
	available          string // version that the server could install, "" for none
	mayExtend          bool   // this role may run CREATE EXTENSION vector
	visible            bool   // the type is in the search path
	crypto             bool   // the extension pgcrypto is in the database
	hasCrypto          bool   // the server could install it

	table   bool
	mine    bool              // this role may alter it
	columns map[string]string // name to type as format_type prints it
	key     string            // columns of the primary key
	indexes []index
}

type index struct {
	Name, Def, Method, OpClass string
	Plain                      bool // neither unique nor of a constraint
	Expression                 bool
}

const serverSQL = `SELECT current_database()::text, current_setting('server_encoding'),
 has_schema_privilege(current_schema(), 'CREATE'),
 coalesce((SELECT extversion FROM pg_extension WHERE extname = 'vector'), ''),
 coalesce((SELECT default_version FROM pg_available_extensions WHERE name = 'vector'), ''),
 (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
  OR (has_database_privilege(current_database(), 'CREATE') AND coalesce((SELECT bool_or(v.trusted OR NOT v.superuser)
   FROM pg_available_extension_versions v JOIN pg_available_extensions e ON e.name = v.name AND e.default_version = v.version WHERE v.name = 'vector'), false)),
 to_regtype('vector') IS NOT NULL, EXISTS (SELECT FROM pg_extension WHERE extname = 'pgcrypto'), EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pgcrypto')`

const columnsSQL = `SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), pg_has_role(c.relowner, 'USAGE'),
 coalesce((SELECT string_agg(k.attname, ',' ORDER BY k.attnum) FROM pg_index i JOIN pg_attribute k ON k.attrelid = i.indrelid AND k.attnum = ANY (i.indkey)
  WHERE i.indrelid = c.oid AND i.indisprimary), '')
 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')`

const indexesSQL = `SELECT x.relname::text, pg_get_indexdef(i.indexrelid), m.amname::text,
 (SELECT o.opcname::text FROM pg_opclass o WHERE o.oid = i.indclass[0]),
 NOT i.indisunique AND NOT EXISTS (SELECT 1 FROM pg_constraint t WHERE t.conindid = i.indexrelid), i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
 FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
 JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = $1 AND c.relname = $2 ORDER BY x.relname`

func (s *Sink) look(ctx context.Context) (facts, error) {
	const op = "looking at the target of the vectors"
	f := facts{columns: map[string]string{}}
	if err := s.pool.QueryRow(ctx, serverSQL).Scan(&f.database, &f.encoding, &f.mayCreate, &f.installed, &f.available, &f.mayExtend, &f.visible, &f.crypto, &f.hasCrypto); err != nil {
		return f, pg.Classify(op, err)
	}
	rows, err := s.pool.Query(ctx, columnsSQL, s.schema, vectors.Table)
	if err != nil {
		return f, pg.Classify(op, err)
	}
	var name, kind string
	if _, err := pgx.ForEachRow(rows, []any{&name, &kind, &f.mine, &f.key}, func() error { f.table, f.columns[name] = true, kind; return nil }); err != nil {
		return f, pg.Classify(op, err)
	}
	rows, err = s.pool.Query(ctx, indexesSQL, s.schema, vectors.Table)
	if err != nil {
		return f, pg.Classify(op, err)
	}
	f.indexes, err = pgx.CollectRows(rows, pgx.RowToStructByPos[index])
	return f, pg.Classify(op, err)
}

// extensionFix tells who has to run what.
func (f *facts) extensionFix() string {
	if f.available == "" {
		return "install pgvector on the database server (package postgresql-NN-pgvector, or an image that has it), then run as superuser in database " +
			f.database + ": CREATE EXTENSION vector"
	}
	return "run as superuser in database " + f.database + ": CREATE EXTENSION vector"
}

// olderThan compares the first two numbers of the extension's version.
func olderThan(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, err1 := strconv.Atoi(parts[0])
	b, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (a < major || a == major && b < minor)
}
