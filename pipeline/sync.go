package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
)

// Delta is a lane whose target, written by an earlier run, is to follow its
// source once more.
type Delta[T Record] struct {
	Source     Source[T]
	Sink       Sink[T] // an Upserter, and a Remover or Deleter
	Transforms []Transform[T]
	Units      []Unit // nil means all that the source lists
	Workers    int    // 0 means 2
	PartBytes  int64  // as in Job
	Gate       *Gate  // may be nil
	Meter      *Meter // may be nil
	Backoff    Backoff
	Rate       *Limiter
	Log        *slog.Logger // may be nil
	Journal    Journal
	Digests    Digests
	// Pure reports whether what the transforms make of a unit's records depends on
	// these and on the rules that the digests were opened with, and on nothing else.
	// A record that is as it was read before then needs none. nil means: of no unit.
	Pure func(Unit) bool
	// Target and Equal compare a record of which nothing is known with what the
	// target holds of it. A Target that is a Counter and a KeyLister also tells
	// what it holds too much where the digests may not know all.
	Target Getter[T]
	Equal  func(ctx context.Context, u Unit, want, got T) ([]Field, error)
	// MayDelete allows a pass to remove more than a fifth of what a unit holds.
	MayDelete bool
	// Exact: Target gives records back as they were written, so that their digests
	// tell whether somebody else has written them since. Such a record is neither
	// changed nor removed, but told to Conflict (which may be nil, and is called by
	// several goroutines), unless MayOverwrite says so.
	Exact        bool
	MayOverwrite bool
	Conflict     func(Stray)
}

// UnitSync counts what a pass did to a unit.
type UnitSync struct {
	Unit    string `json:"unit"`
	Read    int64  `json:"read"`
	Same    int64  `json:"same"`
	New     int64  `json:"new"`
	Changed int64  `json:"changed"`
	Deleted int64  `json:"deleted"`
	Refused int64  `json:"refused"` // newly; those of earlier passes are Same
	// Conflicts are left as somebody else has written them on the target.
	Conflicts int64 `json:"conflicts,omitempty"`
}

// Add sums two counts.
func (s *UnitSync) Add(o UnitSync) {
	s.Read += o.Read
	s.Same += o.Same
	s.New += o.New
	s.Changed += o.Changed
	s.Deleted += o.Deleted
	s.Refused += o.Refused
	s.Conflicts += o.Conflicts
}

// ErrMany is what a pass ends with, before it has removed anything, when it
// would remove more than a fifth of a unit.
var ErrMany = errors.New("more than a fifth of what the target holds is not in the source any more")

// few is how many records may always be removed.
const few = 20

// Sync brings the target up to the source: it reads the source once, writes what
// is new or has changed since the records were last written, and removes what
// the source has no more, once every unit was read to its end without an error.
// It may be repeated, also after a crash: what is durable is not written again.
// Records that the target refuses for what they refer to (Orphan), or for a
// value that another record still holds (Duplicate), in this pass or an earlier
// one, are tried again at the end, until what is refused is so for a reason that
// holds on the target as it is then.
//
// It holds, besides a batch for each worker: togetherBytes of what is to be written
// for each unit that is being read and as much for each worker that writes, copied
// out of their batches (detached); waitingBytes of what is tried again; backBytes
// of what is read back, or one record where the target is a Visitor; and the keys of
// what was refused in this pass. Any of it may be one record, if that is larger.
func Sync[T Record](ctx context.Context, d Delta[T]) ([]UnitSync, error) {
	s, err := newSyncer(ctx, d)
	if err != nil {
		return nil, err
	}
	if err := s.run(ctx); err != nil {
		// What was done is remembered: the next pass does not do it again.
		return s.counts(), errors.Join(err, s.Digests.Flush(context.WithoutCancel(ctx)))
	}
	return s.counts(), s.Digests.Flush(ctx)
}

type syncer[T Record] struct {
	Delta[T]
	upsert Upserter[T]
	remove func(context.Context, Unit, []string, func(Outcome) error) error
	final  bool // refusals are final
	yield  bool // records that may have a value that others wait for leave the target
	repeat bool // records are tried again, or their units read again

	mu            sync.Mutex
	units         map[string]*UnitSync
	pending       map[string]*offered[T]     // records to be written, by unit
	waiting       map[string]*waiting[T]     // records to be tried again, by unit
	waits         int64                      // bytes of these
	acts, tried   int64                      // records written, or gone from the target: now, and when the last round began
	open, holders int64                      // of the waiting ones, since the last round began
	fates         map[string]map[string]fate // of records refused in this pass, by unit and key
	lines         map[string]bool            // units with lines in the quarantine
	tables        map[string]*Table          // of the source, by unit
	owned         map[string]bool            // units that the journal knew when the pass began
}

func newSyncer[T Record](ctx context.Context, d Delta[T]) (*syncer[T], error) {
	s := &syncer[T]{Delta: d, units: map[string]*UnitSync{}, pending: map[string]*offered[T]{}, waiting: map[string]*waiting[T]{},
		fates: map[string]map[string]fate{}, lines: map[string]bool{}, tables: map[string]*Table{}}
	lane := "the target"
	if len(d.Units) > 0 {
		lane = string(d.Units[0].Lane)
	}
	unable := &Error{Op: "syncing " + lane, Err: errors.ErrUnsupported, Exit: ExitUsage, Hint: "run migrate --replace instead: this kind of target cannot be changed record by record yet"}
	up, ok := d.Sink.(Upserter[T])
	if !ok {
		return nil, unable
	}
	s.upsert = up
	switch r := d.Sink.(type) {
	case Remover:
		s.remove = r.Remove
	case Deleter:
		s.remove = func(ctx context.Context, u Unit, keys []string, _ func(Outcome) error) error {
			return r.Delete(ctx, u, keys)
		}
	default:
		return nil, unable
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Gate == nil {
		s.Gate = &Gate{}
	}
	if s.Units == nil {
		units, err := d.Source.Units(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the source: %w", err)
		}
		s.Units = units
	}
	for _, u := range s.Units {
		s.units[u.ID()] = &UnitSync{Unit: u.ID()}
	}
	refused, _, err := d.Journal.Tallies(ctx)
	for _, t := range refused {
		s.lines[t.Unit] = true
	}
	return s, err
}

func (s *syncer[T]) counts() []UnitSync {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []UnitSync
	count := func(u UnitSync) {
		u.Refused += int64(len(s.fates[u.Unit]))
		out = append(out, u)
	}
	for _, u := range s.Units {
		count(*s.units[u.ID()])
	}
	for id, u := range s.units {
		if !slices.ContainsFunc(s.Units, func(u Unit) bool { return u.ID() == id }) {
			count(*u)
		}
	}
	return out
}

func (s *syncer[T]) run(ctx context.Context) error {
	s.Digests.Pass()
	left, err := s.goneUnits(ctx)
	if err != nil {
		return err
	}
	for _, u := range left {
		if err := s.notWhole(ctx, u); err != nil {
			return err
		}
	}
	levels := [][]Unit{s.Units}
	if l, ok := s.Sink.(Leveler); ok {
		if levels, err = l.Levels(ctx, s.Units); err != nil {
			return err
		}
	}
	if err := s.scan(ctx, levels); err != nil {
		return err
	}
	gone, err := s.few(ctx)
	if err != nil {
		return err
	}
	for _, units := range slices.Backward(levels) {
		for _, u := range units {
			if !gone[u.ID()] {
				continue
			}
			if err := s.removeUnseen(ctx, u, s.gone); err != nil {
				return err
			}
		}
	}
	for _, u := range left {
		if err := s.dropUnit(ctx, u); err != nil {
			return err
		}
	}
	if err := s.again(ctx, levels); err != nil {
		return err
	}
	for _, u := range s.Units {
		if err := s.extras(ctx, u); err != nil {
			return err
		}
	}
	// Extras may have had values that others wait for.
	if err := s.again(ctx, levels); err != nil {
		return err
	}
	for _, u := range s.Units {
		s.Gate.Open(u.ID())
	}
	return nil
}

// goneUnits are those that this or an earlier run wrote, and that are not in the
// source any more.
func (s *syncer[T]) goneUnits(ctx context.Context) ([]Unit, error) {
	units, err := apartFrom(ctx, s.Source, s.Journal, s.Units, s.Digests.Units()...)
	if err != nil {
		return nil, err
	}
	s.owned = units.written
	if len(units.without) > 0 {
		u := units.without[0]
		return nil, &Error{Op: "looking for what was written", Unit: u.ID(), Err: errors.New("the target does not have it any more, and this run has written it"), Exit: ExitUsage,
			Hint: "put it back on the target, or begin anew with migrate --replace: nothing was changed"}
	}
	if len(s.Units) == 0 && len(units.gone) > 0 {
		return nil, &Error{Op: "syncing", Err: errors.New("the source lists nothing at all"), Exit: ExitEnvironment,
			Hint: "see that the source is the right one and is whole: nothing was removed from the target"}
	}
	return units.gone, nil
}

// notWhole asks before all of a table or folder is removed, as both are never
// dropped in use; collections are.
func (s *syncer[T]) notWhole(ctx context.Context, u Unit) error {
	if u.Lane == Vectors {
		return nil
	}
	held, _, err := s.Digests.Count(ctx, u.ID())
	if err != nil {
		return err
	}
	there, err := countOf(ctx, s.Target, u)
	if err != nil {
		return fmt.Errorf("counting %s on the target: %w", u.ID(), err)
	}
	held = max(held, there)
	return s.notMany(u, held, held)
}

// few sees that no unit would lose more than a fifth, and gives those that lose
// anything.
func (s *syncer[T]) few(ctx context.Context) (losing map[string]bool, err error) {
	losing = map[string]bool{}
	for _, u := range s.Units {
		held, unseen, err := s.Digests.Count(ctx, u.ID())
		if err != nil {
			return nil, err
		}
		if err := s.notMany(u, held, unseen); err != nil {
			return nil, err
		}
		losing[u.ID()] = unseen > 0
	}
	return losing, nil
}

func (s *syncer[T]) notMany(u Unit, held, gone int64) error {
	if s.MayDelete || gone <= few || gone*5 <= held {
		return nil
	}
	return &Error{Op: "syncing", Unit: u.ID(), Err: fmt.Errorf("%d of %d: %w", gone, held, ErrMany), Exit: ExitUsage,
		Hint: "see that the source is the right one and is whole; if so many were really deleted, say --allow-deletes"}
}

// refused notes that a unit has lines in the quarantine. With back it is read in the
// next round.
func (s *syncer[T]) refused(unit string, back bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines[unit] = true
	if s.units[unit] == nil {
		s.units[unit] = &UnitSync{Unit: unit}
	}
	if back {
		s.readAgain(unit)
	}
}

// note counts.
func (s *syncer[T]) note(unit string, n UnitSync) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.units[unit] == nil {
		s.units[unit] = &UnitSync{Unit: unit}
	}
	s.units[unit].Add(n)
}

func (s *syncer[T]) quarantined(unit string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines[unit]
}
