package schema

import (
	"fmt"
	"slices"
	"strings"
)

// peeweeHistory is what pg_dump prints of the table that peewee-migrate 1.14.3
// makes.
const peeweeHistory = `CREATE TABLE public.migratehistory (
    id integer NOT NULL,
    name character varying(255) NOT NULL,
    migrated_at timestamp without time zone NOT NULL
);

CREATE SEQUENCE public.migratehistory_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.migratehistory_id_seq OWNED BY public.migratehistory.id;

ALTER TABLE ONLY public.migratehistory ALTER COLUMN id SET DEFAULT nextval('public.migratehistory_id_seq'::regclass);

ALTER TABLE ONLY public.migratehistory
    ADD CONSTRAINT migratehistory_pkey PRIMARY KEY (id);
`

// NeedsPeeweeHistory tells whether the releases of a head (up to 0.9.5) run
// peewee's migrations before alembic at every start. On a target without the
// table of PeeweeHistory, filled with the source's rows (18), they run them
// from the first one and die: column "share_id" of relation "chat" already
// exists. Later releases do not look at the table.
func NeedsPeeweeHistory(head string) bool {
	for _, h := range list() {
		if h.head == head {
			return h.peewee
		}
	}
	return false
}

// PeeweeHistory is a schema of the one table migratehistory and its sequence.
// Its Head is "".
func PeeweeHistory() (*Schema, error) {
	s, err := parse(peeweeHistory)
	if err != nil {
		return nil, fmt.Errorf("parsing the table migratehistory: %w", err)
	}
	return s, nil
}

// LoadTarget is [Load] for a database to be made: where the releases of the
// head need the table of [PeeweeHistory] to start, it is there too.
func LoadTarget(head string) (*Schema, error) {
	s, err := Load(head)
	if err != nil || !NeedsPeeweeHistory(head) {
		return s, err
	}
	h, err := PeeweeHistory()
	if err != nil {
		return nil, err
	}
	s.Tables = append(s.Tables, h.Tables...)
	slices.SortFunc(s.Tables, func(a, b Table) int { return strings.Compare(a.Name, b.Name) })
	s.Sequences = append(s.Sequences, h.Sequences...)
	s.statements = append(s.statements, h.statements...)
	return s, nil
}
