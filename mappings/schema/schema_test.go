package schema

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

const newest = "0bd252b206fb"

func load(t *testing.T, head string) *Schema {
	t.Helper()
	s, err := Load(head)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEveryHeadOfTheListLoads(t *testing.T) {
	heads := Heads()
	if len(heads) != 23 || heads[0] != "6a39f3d8e55c" || heads[22] != newest {
		t.Errorf("%d heads from %s to %s", len(heads), heads[0], heads[len(heads)-1])
	}
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != len(heads) {
		t.Errorf("%d .sql files for %d heads", len(names), len(heads))
	}
	for _, head := range heads {
		if len(Releases(head)) == 0 {
			t.Errorf("%s has no release", head)
		}
		s := load(t, head)
		v, ok := s.Table("alembic_version")
		if !ok || len(v.Columns) != 1 || v.Columns[0] != (Column{"version_num", Varchar, 32, true, false}) {
			t.Errorf("%s: alembic_version is %+v", head, v)
		}
		for _, table := range s.Tables {
			if len(table.PrimaryKey) == 0 {
				t.Errorf("%s: %s has no primary key", head, table.Name)
			}
			for _, name := range table.PrimaryKey {
				if c, ok := table.Column(name); !ok || !c.NotNull {
					t.Errorf("%s: %s.%s is in the primary key and may be NULL", head, table.Name, name)
				}
			}
		}
		if len(s.Sequences) != 1 || s.Sequences[0].Name != "config_id_seq" {
			t.Errorf("%s: sequences %+v", head, s.Sequences)
		}
		t.Logf("%s %2d tables, %v", head, len(s.Tables), Releases(head))
	}
}

func TestUnknownHeadIsNamed(t *testing.T) {
	for _, head := range []string{"ffffffffffff", "", "heads.tsv", "../schema/" + newest} {
		if _, err := Load(head); !errors.Is(err, ErrUnknownHead) {
			t.Errorf("Load(%q): %v", head, err)
		}
		if Releases(head) != nil {
			t.Errorf("Releases(%q) is not nil", head)
		}
	}
}

// The figures were counted in a database that Open WebUI 0.12.4 made.
func TestNewestHead(t *testing.T) {
	s := load(t, newest)
	types := map[Type]int{}
	columns, keys, checks := 0, 0, 0
	for _, table := range s.Tables {
		columns += len(table.Columns)
		keys += len(table.ForeignKeys)
		checks += len(table.Checks)
		for _, c := range table.Columns {
			types[c.Type]++
		}
	}
	if len(s.Tables) != 48 || columns != 426 || keys != 19 || checks != 1 {
		t.Errorf("%d tables, %d columns, %d foreign keys, %d checks", len(s.Tables), columns, keys, checks)
	}
	for typ, want := range map[Type]int{Text: 205, Bigint: 96, JSON: 64, Varchar: 36, Boolean: 20, Integer: 2, Timestamp: 2, Date: 1} {
		if types[typ] != want {
			t.Errorf("%d columns are %s, not %d", types[typ], typ, want)
		}
	}
	if want := []Sequence{{"config_id_seq", "config_old", "id"}}; !slices.Equal(s.Sequences, want) {
		t.Errorf("sequences %+v", s.Sequences)
	}

	column := func(table, name string) Column {
		tb, _ := s.Table(table)
		c, ok := tb.Column(name)
		if !ok {
			t.Fatalf("no column %s.%s", table, name)
		}
		return *c
	}
	for _, c := range []struct{ got, want Column }{
		{column("user", "username"), Column{"username", Varchar, 50, false, false}},
		{column("chat", "meta"), Column{"meta", JSON, 0, true, true}},
		{column("config_old", "id"), Column{"id", Integer, 0, true, true}},
		{column("config_old", "created_at"), Column{"created_at", Timestamp, 0, true, true}},
		{column("config_old", "data"), Column{"data", JSON, 0, true, false}},
		{column("memory", "type"), Column{"type", Varchar, 0, true, true}},
		{column("chatidtag", "timestamp"), Column{"timestamp", Bigint, 0, false, false}},
	} {
		if c.got != c.want {
			t.Errorf("%+v, not %+v", c.got, c.want)
		}
	}
	group, _ := s.Table("group")
	if k := group.ForeignKeys[0]; k.Name != "fk_group_parent" || k.RefTable != "group" || k.OnDelete != "SET NULL" {
		t.Errorf("%+v", k)
	}
	member, _ := s.Table("channel_member")
	if c := member.Checks[0]; c.Name != "ck_channel_member_identity" || c.Expr != "((user_id IS NULL) <> (app_id IS NULL))" {
		t.Errorf("%+v", c)
	}
	grant, _ := s.Table("access_grant")
	if u := grant.Unique[0]; u.Name != "uq_access_grant_grant" || len(u.Columns) != 5 {
		t.Errorf("%+v", u)
	}
	tag, _ := s.Table("tag")
	if !slices.Equal(tag.PrimaryKey, []string{"id", "user_id"}) {
		t.Errorf("primary key of tag: %v", tag.PrimaryKey)
	}
}

func TestIndexesThatCanRefuseARowComeBeforeTheLoad(t *testing.T) {
	s := load(t, newest)
	var before, after []string
	for _, st := range s.Statements("", BeforeLoad) {
		if st.Kind == KindIndex {
			before = append(before, st.Name)
		}
	}
	for _, st := range s.Statements("", AfterLoad) {
		if st.Kind != KindIndex {
			t.Errorf("%s %s after the load", st.Kind, st.Name)
		}
		after = append(after, st.Name)
	}
	if want := []string{"file_pending_knowledge_idx", "ix_prompt_new_command", "uq_user_email_lower"}; !slices.Equal(before, want) {
		t.Errorf("before the load: %v", before)
	}
	for _, name := range []string{"timer_at_idx", "user_id_timer_at_idx", "user_id_updated_at_id_idx", "ix_group_parent_group_id"} {
		if !slices.Contains(after, name) {
			t.Errorf("%s is not after the load", name)
		}
	}
	file, _ := s.Table("file")
	if x := file.Indexes[0]; x.Plain || len(x.Keys) != 1 || !strings.HasPrefix(x.Where, "((data ->>") {
		t.Errorf("%+v", x)
	}
	chat, _ := s.Table("chat")
	i := slices.IndexFunc(chat.Indexes, func(x Index) bool { return x.Name == "user_id_updated_at_id_idx" })
	if x := chat.Indexes[i]; !slices.Equal(x.Keys, []string{"user_id", "updated_at DESC", "id"}) {
		t.Errorf("%+v", x)
	}
}

// The statements of the three phases are the file, word for word.
func TestStatementsAreTheFile(t *testing.T) {
	for _, head := range Heads() {
		src, err := files.ReadFile(head + ".sql")
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Split(strings.TrimSuffix(string(src), ";\n"), ";\n\n")
		var got []string
		for _, phase := range []Phase{BeforeLoad, AfterLoad, ForeignKeys} {
			for _, st := range load(t, head).Statements(public, phase) {
				got = append(got, strings.ReplaceAll(st.SQL, `"public".`, "public."))
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d statements make not the %d of the file", head, len(got), len(want))
		}
	}
}

func TestSchemaNameIsQuoted(t *testing.T) {
	s := load(t, newest)
	find := func(schemaName string, phase Phase, kind Kind, name string) string {
		for _, st := range s.Statements(schemaName, phase) {
			if st.Kind == kind && st.Name == name {
				return st.SQL
			}
		}
		t.Fatalf("no %s %s", kind, name)
		return ""
	}
	for _, c := range []struct {
		schema string
		phase  Phase
		kind   Kind
		name   string
		want   string
	}{
		{"", BeforeLoad, KindDefault, "id", `ALTER TABLE ONLY config_old ALTER COLUMN id SET DEFAULT nextval('config_id_seq'::regclass)`},
		{`it's "x"`, BeforeLoad, KindDefault, "id",
			`ALTER TABLE ONLY "it's ""x""".config_old ALTER COLUMN id SET DEFAULT nextval('"it''s ""x""".config_id_seq'::regclass)`},
		{"a b", BeforeLoad, KindSequenceOwner, "config_id_seq", `ALTER SEQUENCE "a b".config_id_seq OWNED BY "a b".config_old.id`},
		{"a b", AfterLoad, KindIndex, "ix_group_parent_group_id",
			`CREATE INDEX ix_group_parent_group_id ON "a b"."group" USING btree (parent_group_id)`},
		{"", NotValid, KindForeignKey, "fk_group_parent",
			"ALTER TABLE ONLY \"group\"\n    ADD CONSTRAINT fk_group_parent FOREIGN KEY (parent_group_id) REFERENCES \"group\"(id) ON DELETE SET NULL NOT VALID"},
		{"a b", Validate, KindForeignKey, "fk_group_parent", `ALTER TABLE ONLY "a b"."group" VALIDATE CONSTRAINT "fk_group_parent"`},
	} {
		if got := find(c.schema, c.phase, c.kind, c.name); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
