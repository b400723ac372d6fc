package schema

import (
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		src  string
		want string // tokens joined by a space, statements by a bar
	}{
		{"", ""},
		{"a;\n\nb c;\n", "a|b c"},
		{`CREATE TABLE public."or;der" (x text DEFAULT 'a;''b'::text);`, "CREATE TABLE public . or;der ( x text DEFAULT a;'b :: text )"},
		{`"say ""hi""" <> 10;`, `say "hi" <> 10`},
	} {
		statements, err := split(c.src)
		if err != nil {
			t.Errorf("%s: %v", c.src, err)
		}
		var got []string
		for _, tokens := range statements {
			var words []string
			for _, tk := range tokens {
				words = append(words, tk.text)
			}
			got = append(got, strings.Join(words, " "))
		}
		if strings.Join(got, "|") != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.src, strings.Join(got, "|"), c.want)
		}
	}
}

func TestWhatIsNotKnownIsAnError(t *testing.T) {
	const table = "CREATE TABLE public.t (\n    id text NOT NULL,\n    n integer\n);\n"
	for _, c := range []struct{ src, want string }{
		{"SELECT 1", "has no end"},
		{"SELECT 'open;", "line 1: not understood"},
		{"SELECT $$a;b$$;", "not understood: $$a"},
		{"SELECT E'a';", "not understood: E'a'"},
		{`SELECT U&'a';`, "not understood"},
		{`SELECT 'a\b';`, "not understood"},
		{"-- a comment;\n", "not understood"},
		{"SELECT 1 /* ; */;", "not understood"},
		{"\\restrict x\n", "not understood"},
		{"SELECT (1;", "ends inside a parenthesis"},
		{"SELECT 1);", "was not opened"},
		{"SELECT größe;", "not understood"},
		{";", "is empty"},
		{"CREATE VIEW public.v AS SELECT 1;", "a command that is known"},
		{"CREATE TYPE public.mood AS ENUM ('a');", "a command that is known"},
		{table + table, "a new table before"},
		{table + "ALTER TABLE public.t OWNER TO x;", "a command that is known"},
		{table + "ALTER TABLE ONLY public.t ADD CONSTRAINT c CHECK ((n > 0));", "a constraint that is known"},
		{table + "ALTER TABLE ONLY public.t ADD CONSTRAINT c EXCLUDE (n);", "a constraint that is known"},
		{table + "ALTER TABLE ONLY public.t ADD CONSTRAINT c UNIQUE NULLS NOT DISTINCT (n);", "NULLS where ( was expected"},
		{table + "ALTER TABLE ONLY public.t ADD CONSTRAINT c UNIQUE (m);", "a column of t before"},
		{table + "ALTER TABLE ONLY public.u ADD CONSTRAINT c UNIQUE (n);", "the name of a known table before"},
		{table + "ALTER TABLE ONLY public.t ADD CONSTRAINT c UNIQUE (n) DEFERRABLE;", "line 5: DEFERRABLE where the end"},
		{table + "CREATE INDEX i ON public.t USING gin (n);", "USING where USING btree"},
		{table + "CREATE INDEX i ON public.t USING btree (n) INCLUDE (id);", "INCLUDE where the end"},
		{table + "CREATE INDEX i ON other.t USING btree (n);", "public ."},
		{table + "CREATE INDEX i ON public.t USING btree (public.f(n)) WHERE (other.g(n));", "no schema but public"},
		{"CREATE TABLE public.t (\n    id uuid\n);", "line 2: uuid where a type"},
		{"CREATE TABLE public.t (\n    id integer GENERATED ALWAYS AS (1) STORED\n);", "the end of the column"},
		{"CREATE TABLE public.t (\n    id text COLLATE x\n);", "the end of the column"},
		{"CREATE TABLE public.t (\n    id text\n) PARTITION BY x;", "PARTITION where the end"},
		{"CREATE TABLE public.t (\n    public text\n);", "no name public"},
		{"CREATE TABLE public.t (\n    id text DEFAULT 'public.x'::text\n);", "a regclass before"},
		{"CREATE SEQUENCE public.s AS bigint;", "AS integer"},
		{"CREATE SEQUENCE public.s AS integer START WITH 1 INCREMENT BY 1 NO MINVALUE NO MAXVALUE CACHE 1;", "belongs to no column"},
	} {
		if _, err := parse(c.src); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot  %v\nwant %s", c.src, err, c.want)
		}
	}
}

func TestPlain(t *testing.T) {
	const table = "CREATE TABLE public.t (a text, b text, c json);\n"
	for _, c := range []struct {
		index string
		want  bool
	}{
		{"CREATE INDEX i ON public.t USING btree (a, b);", true},
		{"CREATE INDEX i ON public.t USING btree (a DESC NULLS LAST);", true},
		{"CREATE INDEX i ON public.t USING btree (a) WHERE (b IS NULL);", true},
		{"CREATE INDEX i ON public.t USING btree (a) WHERE (b IS NOT NULL);", true},
		{"CREATE UNIQUE INDEX i ON public.t USING btree (a);", false},
		{"CREATE INDEX i ON public.t USING btree (lower(a));", false},
		{"CREATE INDEX i ON public.t USING btree (a, ((c ->> 'x'::text)));", false},
		{"CREATE INDEX i ON public.t USING btree (a text_pattern_ops);", false},
		{"CREATE INDEX i ON public.t USING btree (a) WHERE ((c ->> 'x'::text) IS NOT NULL);", false},
		{"CREATE INDEX i ON public.t USING btree (a) WHERE (b = 'x'::text);", false},
	} {
		s, err := parse(table + c.index)
		if err != nil {
			t.Errorf("%s: %v", c.index, err)
			continue
		}
		if x := s.Tables[0].Indexes[0]; x.Plain != c.want {
			t.Errorf("%s: plain is %v", c.index, x.Plain)
		}
		phase := BeforeLoad
		if c.want {
			phase = AfterLoad
		}
		if sts := s.Statements("", phase); sts[len(sts)-1].Name != "i" {
			t.Errorf("%s is not made in phase %d", c.index, phase)
		}
	}
}
