package schema

import "slices"

// statement reads one of the commands that pg_dump writes and adds what it
// makes to the schema.
func (p *parser) statement() statement {
	switch {
	case p.skip("CREATE", "TABLE"):
		return p.createTable()
	case p.skip("CREATE", "SEQUENCE"):
		return p.createSequence()
	case p.skip("ALTER", "SEQUENCE"):
		return p.alterSequence()
	case p.skip("ALTER", "TABLE", "ONLY"):
		return p.alterTable()
	case p.skip("CREATE", "INDEX"):
		return p.createIndex(false)
	case p.skip("CREATE", "UNIQUE", "INDEX"):
		return p.createIndex(true)
	}
	p.fail("a command that is known")
	return statement{}
}

func (p *parser) createTable() statement {
	t := Table{Name: p.relation()}
	if _, ok := p.schema.Table(t.Name); ok {
		p.fail("a new table before")
	}
	for p.need("("); p.err == nil; p.need(",") {
		if p.skip("CONSTRAINT") {
			c := Check{Name: p.name()}
			p.need("CHECK", "(")
			c.Expr = p.expr(")")
			p.need(")")
			t.Checks = append(t.Checks, c)
		} else {
			t.Columns = append(t.Columns, p.column())
		}
		if p.skip(")") {
			break
		}
	}
	p.schema.Tables = append(p.schema.Tables, t)
	return statement{kind: KindTable, name: t.Name, table: t.Name}
}

// column reads name type [DEFAULT expression] [[CONSTRAINT name] NOT NULL].
func (p *parser) column() Column {
	c := Column{Name: p.name()}
	switch {
	case p.skip("text"):
		c.Type = Text
	case p.skip("character", "varying"):
		c.Type = Varchar
		if p.skip("(") {
			c.MaxLen = p.number()
			p.need(")")
		}
	case p.skip("bigint"):
		c.Type = Bigint
	case p.skip("integer"):
		c.Type = Integer
	case p.skip("boolean"):
		c.Type = Boolean
	case p.skip("json"):
		c.Type = JSON
	case p.skip("date"):
		c.Type = Date
	case p.skip("timestamp", "without", "time", "zone"):
		c.Type = Timestamp
	default:
		p.fail("a type that is known")
	}
	if p.skip("DEFAULT") {
		p.expr("CONSTRAINT", "NOT", ",", ")")
		c.HasDefault = true
	}
	if p.skip("CONSTRAINT") {
		p.name()
		p.need("NOT", "NULL")
		c.NotNull = true
	} else {
		c.NotNull = p.skip("NOT", "NULL")
	}
	if !p.is(",") && !p.is(")") {
		p.fail("the end of the column")
	}
	return c
}

func (p *parser) createSequence() statement {
	seq := Sequence{Name: p.relation()}
	p.need("AS", "integer")
	p.need("START", "WITH")
	p.number()
	p.need("INCREMENT", "BY")
	p.number()
	p.need("NO", "MINVALUE")
	p.need("NO", "MAXVALUE")
	p.need("CACHE")
	p.number()
	p.schema.Sequences = append(p.schema.Sequences, seq)
	return statement{kind: KindSequence, name: seq.Name}
}

func (p *parser) alterSequence() statement {
	name := p.relation()
	i := slices.IndexFunc(p.schema.Sequences, func(s Sequence) bool { return s.Name == name })
	if i < 0 {
		p.fail("the name of a known sequence before")
	}
	p.need("OWNED", "BY")
	t := p.table()
	p.need(".")
	column := p.name()
	if _, ok := t.Column(column); !ok {
		p.fail("a column of " + t.Name + " before")
	}
	if p.err != nil {
		return statement{}
	}
	p.schema.Sequences[i].Table, p.schema.Sequences[i].Column = t.Name, column
	return statement{kind: KindSequenceOwner, name: name, table: t.Name}
}

func (p *parser) alterTable() statement {
	t := p.table()
	st := statement{table: t.Name}
	if p.skip("ALTER", "COLUMN") {
		st.kind, st.name = KindDefault, p.name()
		c, ok := t.Column(st.name)
		if !ok {
			p.fail("a column of " + t.Name + " before")
			return st
		}
		p.need("SET", "DEFAULT")
		p.expr()
		c.HasDefault = true
		return st
	}
	p.need("ADD", "CONSTRAINT")
	st.name = p.name()
	switch {
	case p.skip("PRIMARY", "KEY"):
		st.kind, t.PrimaryKey = KindPrimaryKey, p.columns(t)
	case p.skip("UNIQUE"):
		st.kind = KindUnique
		t.Unique = append(t.Unique, Unique{st.name, p.columns(t)})
	case p.skip("FOREIGN", "KEY"):
		st.kind, st.phase = KindForeignKey, ForeignKeys
		k := ForeignKey{Name: st.name, Table: t.Name, Columns: p.columns(t)}
		p.need("REFERENCES")
		parent := p.table()
		k.RefTable, k.RefColumns = parent.Name, p.columns(parent)
		if p.skip("ON", "DELETE", "CASCADE") {
			k.OnDelete = "CASCADE"
		} else if p.skip("ON", "DELETE", "SET", "NULL") {
			k.OnDelete = "SET NULL"
		}
		t.ForeignKeys = append(t.ForeignKeys, k)
	default:
		p.fail("a constraint that is known")
	}
	return st
}

func (p *parser) createIndex(unique bool) statement {
	x := Index{Name: p.name(), Unique: unique, Plain: !unique}
	p.need("ON")
	t := p.table()
	x.Table = t.Name
	p.need("USING", "btree")
	for p.need("("); p.err == nil; p.need(",") {
		first := p.i
		x.Keys = append(x.Keys, p.expr(",", ")"))
		x.Plain = x.Plain && plainKey(t, p.toks[first:p.i])
		if p.skip(")") {
			break
		}
	}
	if p.skip("WHERE") {
		first := p.i
		x.Where = p.expr()
		x.Plain = x.Plain && plainWhere(t, p.toks[first:p.i])
	}
	t.Indexes = append(t.Indexes, x)
	st := statement{kind: KindIndex, name: x.Name, table: t.Name}
	if x.Plain {
		st.phase = AfterLoad
	}
	return st
}

// plainKey: a column, perhaps with its order.
func plainKey(t *Table, key []token) bool {
	if len(key) == 0 {
		return false
	}
	_, ok := t.Column(key[0].text)
	for _, k := range key[1:] {
		ok = ok && k.kind == word && slices.Contains([]string{"ASC", "DESC", "NULLS", "FIRST", "LAST"}, k.text)
	}
	return ok
}

// plainWhere: (column IS [NOT] NULL).
func plainWhere(t *Table, where []token) bool {
	if len(where) < 5 || where[0].text != "(" {
		return false
	}
	_, ok := t.Column(where[1].text)
	test := ""
	for _, w := range where[2:] {
		test += w.text + " "
	}
	return ok && (test == "IS NULL ) " || test == "IS NOT NULL ) ")
}
