package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// Reason is why a record was refused or a value changed. The set is open; the
// operator accepts refusals by reason.
type Reason string

// Reasons that more than one package uses.
const (
	Orphan         Reason = "orphan"          // its parent row is gone; PostgreSQL would have deleted it
	NeedsEmbedding Reason = "needs-embedding" // the source has lost the vector
	NullKeyReason  Reason = "null-key"        // NULL in a primary key column
	NotNull        Reason = "not-null"        // NULL where the target forbids it
	Duplicate      Reason = "duplicate"       // another row holds the unique value
	TooLong        Reason = "too-long"        // longer than the column or the index can hold
	Invalid        Reason = "invalid"         // any other value the target refuses
	MissingFile    Reason = "missing-file"    // a row names a file that is not there
	Unreadable     Reason = "unreadable"      // the source holds it but it cannot be read
	PathRewritten  Reason = "path"            // file.path rewritten for the target
	ParentCleared  Reason = "parent-cleared"  // ON DELETE SET NULL key without its parent
)

// Change is one line of the ledger: a value that was changed to fit.
type Change struct {
	Unit   string `json:"unit"` // Unit.ID
	Key    string `json:"key"`
	Column string `json:"column"`
	Reason Reason `json:"reason"`
	// Before and After are Digest of the values; the values themselves may be
	// private. Note says in words what was done.
	Before string `json:"before"`
	After  string `json:"after"`
	Note   string `json:"note,omitempty"`
}

// Refusal is one line of the quarantine: a record that the target cannot hold,
// kept whole.
type Refusal struct {
	Unit   string `json:"unit"` // Unit.ID
	Key    string `json:"key"`
	Column string `json:"column,omitempty"`
	Reason Reason `json:"reason"`
	Detail string `json:"detail"`
	// Record is the whole record as its MarshalJSON gives it.
	Record json.RawMessage `json:"record"`
}

// NewRefusal keeps a record whole in a quarantine line.
func NewRefusal(unit Unit, r Record, column string, reason Reason, detail string) Refusal {
	body, err := json.Marshal(r)
	if err != nil {
		// Metadata that is not valid JSON: keep it as text rather than lose it.
		body, _ = json.Marshal(map[string]any{"key": r.Key(), "unencodable": err.Error()})
	}
	return Refusal{Unit: unit.ID(), Key: r.Key(), Column: column, Reason: reason, Detail: detail, Record: body}
}

// Digest is the ledger's digest of a value: SHA-256 in hexadecimal of its
// canonical text, "null" for nil.
func Digest(v any) string {
	var s string
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		s = "false"
		if v {
			s = "true"
		}
	default:
		s = keyText(v)
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// Outcome is what a write did.
type Outcome struct {
	Written int
	Refused []Refusal
	Changed []Change
}

// Add sums two outcomes.
func (o *Outcome) Add(p Outcome) {
	o.Written += p.Written
	o.Refused = append(o.Refused, p.Refused...)
	o.Changed = append(o.Changed, p.Changed...)
}

// Beside tells, before records of a unit are removed, what else cannot stay as it
// is without them: what was refused of the records themselves is left out. It
// calls tell only where there is anything.
func (o *Outcome) Beside(u Unit, keys []string, tell func(Outcome) error) error {
	o.Refused = slices.DeleteFunc(o.Refused, func(r Refusal) bool { return r.Unit == u.ID() && slices.Contains(keys, r.Key) })
	if len(o.Refused)+len(o.Changed) == 0 {
		return nil
	}
	return tell(*o)
}

// Transform turns a record as read into one that the target can hold, or
// refuses it (record nil, one or more refusals). It must be a pure function of the record: plan,
// migrate and verify run the same one.
type Transform[T Record] func(Unit, T) (T, []Change, []Refusal)
