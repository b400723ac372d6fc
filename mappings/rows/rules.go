package rows

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Rules is raised whenever [Convert] or [ToSQLite] makes something else of any
// value than before: a sync pass then makes all rows again, where otherwise it
// leaves alone those that have not changed.
const Rules = 1

// RulesFor names what has a say in the rows that a transform makes, but for
// Options.FilePath: these rules, the target's columns by table, and the version of
// the program.
func RulesFor[C Column | SQLiteColumn](version string, tables map[string][]C) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%q %d %T %#v", version, Rules, tables, tables) // maps are printed in the order of their keys
	return hex.EncodeToString(h.Sum(nil))
}

// DependsOnFiles reports whether what becomes of a table's rows depends on
// Options.FilePath, and so on more than the row.
func DependsOnFiles(table string) bool { return table == "file" }
