package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/mappings/schema"
	"outgrow/pipeline"
)

// State is what a target was found to be.
type State string

// The states of a target.
const (
	NoSchema State = "no-schema" // DATABASE_SCHEMA names a schema that is not there
	Empty    State = "empty"     // no table of Open WebUI: they are made
	Fresh    State = "fresh"     // made by Open WebUI, at most its first start's config rows in it
	Ours     State = "ours"      // prepared by a run whose journal is there
	InUse    State = "in-use"    // holds rows that no run of ours wrote
	Lost     State = "lost"      // the journal tells of tables that are gone
)

// Target is what Inspect found.
type Target struct {
	State   State
	Schema  string
	Version int    // server_version_num
	Head    string // its alembic revision, as recorded or as taken away; "" when there is none
	// Filled lists the tables with rows, config and the like left out. A target that
	// this package works on is not asked, unless they are to be replaced.
	Filled []string
	// Locked is true while another session works on this target.
	Locked bool
	// Run is the run that the journal tells of, nil without one.
	Run      *pipeline.Run
	Complete bool
	// Without lists what was taken away for the load and is not back yet.
	Without []string
	// Foreign lists Open WebUI's tables that this role may not alter.
	Foreign []string
	// Lacks lists what tables of its own revision have and it has not: "table", or
	// "table.column".
	Lacks []string
	// Others counts the sessions of other programs in this database.
	Others int
	// Comment is that of the database.
	Comment string

	tables map[string]*pg.Table // Open WebUI's, as they are
}

// Incomplete is the reason of the finding that tables or columns are not there.
const Incomplete pipeline.Reason = "incomplete"

const versionTable = "alembic_version"

// A first start of Open WebUI, or an upgrade without users, fills these.
var seeded = []string{versionTable, "config", "config_old", "migratehistory"}

// ours picks Open WebUI's tables: those of the source's head, or, when that
// head is unknown, all that are not known to be somebody else's.
func (s *Sink) ours(there map[string]*pg.Table) map[string]*pg.Table {
	out := map[string]*pg.Table{}
	for name, t := range there {
		if s.known != nil {
			if _, ok := s.known.Table(name); !ok {
				continue
			}
		} else if strings.HasPrefix(name, "_outgrow_") || strings.HasPrefix(name, "document_chunk") || name == "migratehistory" || there[versionTable] == nil {
			continue
		}
		out[name] = t
	}
	return out
}

// Inspect looks at the target without changing it.
func (s *Sink) Inspect(ctx context.Context) (Target, error) {
	t, err := s.inspect(ctx)
	return t, pg.Classify("inspecting the target", err)
}

func (s *Sink) inspect(ctx context.Context) (Target, error) {
	t := Target{Schema: s.schema, State: Empty}
	var has bool
	if err := s.pool.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, EXISTS (SELECT FROM pg_namespace WHERE nspname = $1), `+pg.OtherSessions+`,
 coalesce((SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()), '')`, s.schema).Scan(&t.Version, &has, &t.Others, &t.Comment); err != nil {
		return t, err
	}
	var err error
	if t.Run, err = s.store.Peek(ctx); err != nil {
		return t, err
	}
	if t.Locked, err = s.store.Locked(ctx); err != nil {
		return t, err
	}
	marks, err := s.store.Marked(ctx)
	if err != nil {
		return t, err
	}
	t.Complete = marks[markComplete] != ""
	for name := range marks {
		if what, ok := strings.CutPrefix(name, without); ok {
			t.Without = append(t.Without, what)
		}
	}
	slices.Sort(t.Without)
	if !has {
		t.State = NoSchema
		return t, nil
	}
	there, err := pg.Tables(ctx, s.pool, s.schema)
	if err != nil {
		return t, err
	}
	tables := s.ours(there)
	t.tables = tables
	for name, table := range tables {
		if !table.Mine {
			t.Foreign = append(t.Foreign, name)
		}
	}
	slices.Sort(t.Foreign)
	if marks[markPrepared] == "" || s.cfg.Replace {
		if t.Filled, err = s.filled(ctx, s.pool, tables); err != nil {
			return t, err
		}
	}
	if t.Head, err = s.head(ctx, s.pool, there); err != nil {
		return t, err
	}
	if t.Head == "" {
		t.Head = marks[markVersion]
	}
	if len(tables) > 0 && t.Head == s.cfg.Head {
		t.Lacks = s.lacks(there)
	}
	switch {
	case len(tables) == 0 && marks[markPrepared] != "":
		t.State = Lost
	case len(tables) == 0:
		t.State = Empty
	case marks[markPrepared] != "":
		t.State = Ours
	case len(t.Filled) > 0:
		t.State = InUse
	default:
		t.State = Fresh
	}
	return t, nil
}

// lacks compares the target's tables with those that the source's head has. What
// only migrations have left behind is not asked for.
func (s *Sink) lacks(there map[string]*pg.Table) (out []string) {
	if s.known == nil {
		return nil
	}
	for name, want := range s.planned() {
		got := there[name]
		switch {
		case name == "migratehistory" || name == "config_old":
		case got == nil:
			out = append(out, name)
		default:
			for _, c := range want.Columns {
				if !slices.ContainsFunc(got.Columns, func(g pg.Column) bool { return g.Name == c.Name }) {
					out = append(out, name+"."+c.Name)
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// head reads alembic_version; "" when there is no such table or row.
func (s *Sink) head(ctx context.Context, q pg.Querier, there map[string]*pg.Table) (string, error) {
	if there[versionTable] == nil {
		return "", nil
	}
	var head string
	err := q.QueryRow(ctx, "SELECT version_num::text FROM "+s.t(versionTable)+" LIMIT 1").Scan(&head)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return head, err
}

// filled lists the tables that hold a row which a first start does not make.
func (s *Sink) filled(ctx context.Context, q pg.Querier, tables map[string]*pg.Table) ([]string, error) {
	var parts []string
	for name := range tables {
		if !slices.Contains(seeded, name) {
			parts = append(parts, fmt.Sprintf("SELECT %s WHERE EXISTS (SELECT FROM %s)", pg.Literal(name), s.t(name)))
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	rows, err := q.Query(ctx, strings.Join(parts, " UNION ALL "))
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	slices.Sort(list)
	return list, err
}

// refuse gives the finding that forbids to write to this target, nil when there
// is none. With replace the target is going to be emptied first.
func (s *Sink) refuse(t Target, replace bool) *pipeline.Finding {
	no := func(reason pipeline.Reason, text, fix string) *pipeline.Finding {
		return &pipeline.Finding{Severity: pipeline.Refuse, Reason: reason, Text: text, Fix: fix}
	}
	where := "schema " + pg.Ident(t.Schema)
	switch t.State {
	case NoSchema:
		if t.Schema == "" {
			return no("no-schema", "the role's search path names no schema that exists", "set DATABASE_SCHEMA, or: CREATE SCHEMA public")
		}
		return no("no-schema", where+" does not exist", "as its owner-to-be, or with AUTHORIZATION: CREATE SCHEMA "+pg.Ident(t.Schema))
	case Empty:
		if s.known == nil {
			return no("unknown-head", fmt.Sprintf("the source's schema %q is of no release that is known (newest: %s)", s.cfg.Head, newest()),
				"start the Open WebUI release that wrote the source once on the empty target, stop it, then run the same command")
		}
		return nil
	case Lost:
		if replace {
			return nil
		}
		return no("lost", "outgrow's journal tells of tables in "+where+" that are gone",
			"add --replace to begin anew, or name the database that was begun")
	case InUse:
		if replace {
			break
		}
		return no("in-use", fmt.Sprintf("%s holds rows that outgrow did not write, in %s", where, Some(t.Filled)),
			"name an empty database, or add --replace to delete everything Open WebUI has there")
	}
	if t.Head != s.cfg.Head && !(replace && s.known != nil) {
		fix := "upgrade the side that is older: start the newer release once on a copy of it"
		if r := schema.Releases(s.cfg.Head); len(r) > 0 {
			fix = "make both sides the same release: start Open WebUI " + r[len(r)-1] + " on an empty target, or leave the target empty, or upgrade a copy of the source"
		}
		return no("heads-differ", fmt.Sprintf("the target's tables are of schema %s, the source's of %s", release(t.Head), release(s.cfg.Head)), fix)
	}
	if len(t.Lacks) > 0 && len(t.Foreign) == 0 { // else that is to be mended first
		return no(Incomplete, fmt.Sprintf("%s is said to be of schema %s, but has no %s", where, release(t.Head), Some(t.Lacks)),
			"bring it back from a backup of the target; or begin anew in an empty database or schema, in which the tables are made by this command")
	}
	return nil
}

func release(head string) string {
	if head == "" {
		return "no recorded revision"
	}
	if r := schema.Releases(head); len(r) > 0 {
		return head + " (Open WebUI " + r[len(r)-1] + ")"
	}
	return head
}

func newest() string {
	heads := schema.Heads()
	return release(heads[len(heads)-1])
}

// Some gives the first of the names.
func Some(names []string) string {
	if len(names) > 5 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:5], ", "), len(names)-5)
	}
	return strings.Join(names, ", ")
}

// asError makes the error of a refused target.
func asError(f *pipeline.Finding) error {
	return pipeline.Usage("preparing the target", errors.New(f.Text), f.Fix)
}
