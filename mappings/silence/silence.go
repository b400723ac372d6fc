package silence

import (
	"slices"

	"outgrow/pipeline"
)

// Why a value is in the ledger.
const (
	// Silenced is for values that were changed.
	Silenced pipeline.Reason = "rehearsal"
	// Left is for values whose form is none that Open WebUI is known to write:
	// they are as they were, and before and after are the same.
	Left pipeline.Reason = "rehearsal-left"
)

// rule silences the rows of one table.
type rule struct {
	table string
	// columns are those that it works on. A release whose table lacks one of
	// them does not have the feature.
	columns []string
	apply   func(*edit)
}

// rules is the one list of what is silenced.
func rules() []rule {
	return []rule{
		{"chat", []string{"timer_at", "meta"}, timer},
		{"automation", []string{"is_active", "next_run_at"}, automation},
		{"calendar_event", []string{"is_cancelled", "start_at", "meta"}, alert},
		{"config", []string{"key", "value"}, setting},
		{"config", []string{"data"}, nestedSettings}, // before 0.10: one row holds all
		{"user", []string{"settings"}, targets},
		{"app", []string{"is_active"}, off("the app is not connected to")},
		{"function", []string{"is_active"}, off("the function is not called")},
	}
}

// Transform gives the transform of rows that are canonical already (those of
// package rows for PostgreSQL). It refuses nothing, and what it has changed it
// does not change again.
func Transform() pipeline.Transform[*pipeline.Row] {
	byTable := map[string][]rule{}
	for _, r := range rules() {
		byTable[r.table] = append(byTable[r.table], r)
	}
	return func(unit pipeline.Unit, row *pipeline.Row) (*pipeline.Row, []pipeline.Change, []pipeline.Refusal) {
		of := byTable[row.Table.Name]
		if len(of) == 0 {
			return row, nil, nil
		}
		e := &edit{unit: unit.ID(), row: row}
		for _, r := range of {
			if e.has(r.columns) {
				r.apply(e)
			}
		}
		return e.row, e.changes, nil
	}
}

// edit is a row while rules work on it. The row that came in is never changed.
type edit struct {
	unit    string
	row     *pipeline.Row
	changes []pipeline.Change
}

func (e *edit) has(columns []string) bool {
	for _, c := range columns {
		if !slices.Contains(e.row.Table.Columns, c) {
			return false
		}
	}
	return true
}

// get gives the value of a column that the row has.
func (e *edit) get(column string) any {
	return e.row.Values[slices.Index(e.row.Table.Columns, column)]
}

func (e *edit) set(column string, v any, note string) {
	before := e.get(column)
	if !e.cloned() {
		e.row = &pipeline.Row{Table: e.row.Table, Values: slices.Clone(e.row.Values)}
	}
	e.row.Values[slices.Index(e.row.Table.Columns, column)] = v
	e.note(column, Silenced, before, v, note)
}

// cloned reports whether the row is a copy by now.
func (e *edit) cloned() bool {
	return slices.ContainsFunc(e.changes, func(c pipeline.Change) bool { return c.Reason == Silenced })
}

// left tells that a value is of no known form.
func (e *edit) left(column, note string) {
	v := e.get(column)
	e.note(column, Left, v, v, note)
}

func (e *edit) note(column string, reason pipeline.Reason, before, after any, note string) {
	e.changes = append(e.changes, pipeline.Change{Unit: e.unit, Key: e.row.Key(), Column: column, Reason: reason,
		Before: pipeline.Digest(before), After: pipeline.Digest(after), Note: note})
}
