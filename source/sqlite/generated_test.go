package sqlite

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// writable makes a database.
func writable(tb testing.TB, path string) *database {
	tb.Helper()
	d := &database{tls: libc.NewTLS()}
	name, err := libc.CString(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer libc.Xfree(d.tls, name)
	out := libc.Xcalloc(d.tls, 1, 8)
	defer libc.Xfree(d.tls, out)
	rc := lib.Xsqlite3_open_v2(d.tls, name, out, lib.SQLITE_OPEN_READWRITE|lib.SQLITE_OPEN_CREATE, 0)
	if d.db = *at[uintptr](out); rc != lib.SQLITE_OK {
		tb.Fatal(d.error(rc))
	}
	return d
}

// reserve leaves bytes at the end of every page from the next VACUUM on.
func (d *database) reserve(tb testing.TB, n int32) {
	tb.Helper()
	out := libc.Xcalloc(d.tls, 1, 8)
	defer libc.Xfree(d.tls, out)
	*at[int32](out) = n
	if rc := lib.Xsqlite3_file_control(d.tls, d.db, 0, lib.SQLITE_FCNTL_RESERVE_BYTES, out); rc != lib.SQLITE_OK {
		tb.Fatal(d.error(rc))
	}
}

func (d *database) must(tb testing.TB, statements ...string) {
	tb.Helper()
	for _, sql := range statements {
		if err := d.exec(sql); err != nil {
			tb.Fatalf("%.200s: %v", sql, err)
		}
	}
}

// layoutOf is how a generated database is laid out.
type layoutOf struct {
	page, reserved, autoVacuum int
	vacuumed, longest          bool
	wal                        string // how what was written last lies in a -wal, "" for none
}

// What a -wal holds.
const (
	committed   = "committed"
	uncommitted = "committed, then an open transaction"
	restarted   = "committed, then what is left of an earlier round"
)

func (l layoutOf) String() string {
	return fmt.Sprintf("page %d, reserved %d, auto_vacuum %d, vacuumed %v, -wal %s", l.page, l.reserved, l.autoVacuum, l.vacuumed, l.wal)
}

func layouts() []layoutOf {
	return []layoutOf{
		{page: 512},
		{page: 512, reserved: 32, autoVacuum: 1, vacuumed: true},
		{page: 512, wal: restarted},
		{page: 1024, reserved: 7, vacuumed: true},
		{page: 1024, autoVacuum: 2},
		{page: 2048, autoVacuum: 1, wal: committed},
		{page: 4096, longest: true},
		{page: 4096, autoVacuum: 1, vacuumed: true},
		{page: 4096, vacuumed: true, longest: true, wal: uncommitted},
		{page: 4096, reserved: 64, autoVacuum: 2},
		{page: 16384, autoVacuum: 1, vacuumed: true},
		{page: 16384, wal: restarted},
		{page: 65536, wal: uncommitted},
		{page: 65536, reserved: 255, autoVacuum: 1, vacuumed: true},
	}
}

// shapes are tables of all kinds; the values of a row follow as they come.
func shapes() map[string]string {
	return map[string]string{
		"texts":     "(id TEXT PRIMARY KEY, a, b REAL, c INTEGER, d BLOB, e JSON)",
		"numbers":   "(id INTEGER PRIMARY KEY, a DOUBLE PRECISION, b FLOAT, c NUMERIC, d VARCHAR(20))",
		"downward":  "(id INTEGER PRIMARY KEY DESC, a REAL, b)",
		"big":       "(id BIGINT NOT NULL PRIMARY KEY, a DATETIME, b BOOLEAN)",
		"late":      "(a REAL, b TEXT, id INTEGER, PRIMARY KEY (id))",
		"pairs":     "(a TEXT, b INTEGER, c REAL, d, PRIMARY KEY (b, a))",
		"blobs":     "(id BLOB PRIMARY KEY, a CHARINT, b REALBLOB, c \"FLOATING POINT\")",
		"strict":    "(id INT PRIMARY KEY, a ANY, b REAL, c TEXT, d BLOB) STRICT",
		"generated": "(id TEXT PRIMARY KEY, a, b AS (length(a)), c)",
		"empty":     "(id TEXT PRIMARY KEY, a)",
	}
}

// generated makes a database of such tables, with Open WebUI's marks.
func generated(tb testing.TB, seed uint64, l layoutOf) string {
	tb.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	path := filepath.Join(tb.TempDir(), "webui.db")
	d := writable(tb, path)
	d.must(tb, fmt.Sprintf("PRAGMA page_size = %d", l.page), fmt.Sprintf("PRAGMA auto_vacuum = %d", l.autoVacuum), "PRAGMA synchronous = off")
	if l.reserved > 0 {
		d.reserve(tb, int32(l.reserved))
	}
	d.must(tb, "PRAGMA journal_mode = wal", "BEGIN", "CREATE TABLE alembic_version (version_num TEXT PRIMARY KEY)", "INSERT INTO alembic_version VALUES ('0bd252b206fb')",
		`CREATE TABLE "user" (id TEXT PRIMARY KEY)`, `INSERT INTO "user" VALUES ('u1')`)
	tables := shapes()
	names := make([]string, 0, len(tables))
	for name := range tables {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		d.must(tb, "CREATE TABLE "+name+" "+tables[name])
	}
	usable := l.page - l.reserved
	row := func(name string) string {
		id := strconv.Itoa(rng.IntN(1 << 30))
		n := strings.Count(tables[name], ",") // but for composite keys
		columns, values := "rowid", strconv.FormatInt(rng.Int64()>>rng.IntN(62)-rng.Int64N(4000), 10)
		switch name {
		case "numbers", "late":
			id = values
		case "pairs":
			id, n = "'"+id+"'", 3
		case "texts", "blobs", "generated":
			id = "'" + id + "'"
		}
		fields := []string{"id", "a", "b", "c", "d", "e"}[:min(n+1, 6)]
		switch name {
		case "pairs":
			fields = []string{"a", "b", "c", "d"}
		case "late":
			fields = []string{"id", "a", "b"}
		case "generated":
			fields = []string{"id", "a", "c"}
		}
		for i, f := range fields {
			v := id
			switch {
			case i > 0 && name == "strict":
				v = map[string]string{"a": anyValue(rng, usable), "b": fmt.Sprintf("%v", rng.IntN(9)), "c": "'" + strings.Repeat("s", rng.IntN(90)) + "'", "d": "x'0011'"}[f]
			case i > 0:
				v = anyValue(rng, usable)
			}
			columns, values = columns+", "+f, values+", "+v
		}
		return "INSERT OR IGNORE INTO " + name + " (" + columns + ") VALUES (" + values + ")"
	}
	fill := func(n int) {
		for _, name := range names {
			for range n {
				if name != "empty" {
					d.must(tb, row(name))
				}
			}
		}
	}
	fill(60)
	d.must(tb, "COMMIT")
	switch l.wal {
	case restarted:
		d.must(tb, "PRAGMA wal_autocheckpoint = 0", "UPDATE big SET b = 7", "PRAGMA wal_checkpoint(RESTART)")
	case "":
	default:
		d.must(tb, "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA wal_autocheckpoint = 0")
	}
	d.must(tb, "BEGIN")
	for _, name := range names {
		d.must(tb, fmt.Sprintf("DELETE FROM %s WHERE rowid %% 4 = %d", name, rng.IntN(4)))
	}
	for _, name := range names {
		d.must(tb, fmt.Sprintf("UPDATE OR IGNORE %s SET a = %s WHERE rowid %% 5 = 0", name, map[bool]string{true: "1.5", false: anyValue(rng, usable)}[name == "strict"]))
	}
	d.must(tb, "ALTER TABLE texts ADD COLUMN f TEXT", "ALTER TABLE numbers ADD COLUMN f INTEGER DEFAULT 7", "ALTER TABLE blobs ADD COLUMN f REAL")
	fill(25)
	d.must(tb, "INSERT INTO texts (rowid, id, a) VALUES (-9223372036854775807, 'first', NULL), (9223372036854775807, 'last', 1)")
	if l.longest {
		d.must(tb, fmt.Sprintf("INSERT INTO texts (id, a) VALUES ('longest', zeroblob(%d)), ('long', zeroblob(%d))", longest, longest-100))
	}
	d.must(tb, "COMMIT")
	if l.vacuumed {
		d.must(tb, "VACUUM")
	}
	if l.wal != "" { // commits that leave the size of the database as it is
		for i := range 12 {
			d.must(tb, fmt.Sprintf("UPDATE OR IGNORE big SET b = %d WHERE typeof(b) = 'integer'", i%2), fmt.Sprintf("UPDATE late SET b = %d WHERE b IS NOT NULL", i%3))
		}
	}
	if l.wal == uncommitted {
		d.must(tb, "PRAGMA cache_size = 2", "PRAGMA cache_spill = 1", "BEGIN", "UPDATE texts SET b = 99, a = 'never'", "DELETE FROM late", "UPDATE big SET b = 'never'", "UPDATE numbers SET a = 99")
	}
	if l.wal != "" {
		path = crashed(tb, path)
	}
	if err := d.close(); err != nil {
		tb.Fatal(err)
	}
	return path
}

// crashed copies a database that is open as a crash leaves it, with its -wal.
func crashed(tb testing.TB, path string) string {
	tb.Helper()
	to := filepath.Join(tb.TempDir(), "webui.db")
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		if err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(to+suffix, b, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return to
}

// anyValue is an SQL expression for a value of any kind and width.
func anyValue(rng *rand.Rand, usable int) string {
	random := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return "x'" + hex.EncodeToString(b) + "'"
	}
	// Around the sizes at which a record leaves its page.
	local := (usable-12)*32/255 - 23
	size := []int{rng.IntN(12), rng.IntN(200), usable - 35 - rng.IntN(40), local + rng.IntN(40), local + (1+rng.IntN(9))*(usable-4) - 20 + rng.IntN(40)}[rng.IntN(5)]
	if size > 70000 || size < 0 {
		size = rng.IntN(300)
	}
	switch rng.IntN(12) {
	case 0:
		return "NULL"
	case 1:
		return strconv.Itoa(rng.IntN(3)) // 0 and 1 have serial types of their own
	case 2, 3:
		return strconv.FormatInt(int64(rng.Uint64())>>rng.IntN(64), 10)
	case 4:
		return []string{"0.0", "-0.0", "9e999", "-9e999", "5e-324", "4503599627370497.5", "140737488355328.0"}[rng.IntN(7)]
	case 5:
		return strconv.FormatFloat(rng.NormFloat64()*math.Pow(10, float64(rng.IntN(30)-15)), 'e', -1, 64)
	case 6:
		return strconv.Itoa(rng.IntN(100000)) + ".0"
	case 7:
		return "''"
	case 8:
		return "x''"
	case 9:
		return "CAST(" + random(rng.IntN(40)) + " AS TEXT)" // NULs, and what is not UTF-8
	case 10:
		return random(size)
	}
	return "CAST(" + random(size) + " AS TEXT)"
}
