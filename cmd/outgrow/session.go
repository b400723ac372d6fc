package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/source/chroma"
)

// session is an opened pair, or an opened target alone (from is then zero).
type session struct {
	app      *app
	from, to env.Deployment
	lanes    []mover
	state    string // the state folder
	sameData bool   // the target keeps the source DATA_DIR, file.path included
	consent  consent
	// idConflicts is what becomes of ids that the target cannot hold.
	idConflicts    string
	conflictsGiven bool         // on the command line
	conflicts      *idConflicts // nil when there are none
	db             *relational  // the source's database
	stopped        bool         // --stopped
	src            *sourceFacts // nil when only the target is open
	dst            targetFacts
	// gaps is what verify found missing on the target before it read a record.
	gaps        []string
	uploads     fileReader // of the source, nil before somebody asked for them
	refused     *refusedUploads
	filesBefore pipeline.Journal // of the files, where they take no part now
	systems     fileSystems
	cache       cacheState
	paths       *pathSwitch        // nil where file.path is not switched here
	rehearsal   string             // whose the target's database is, where it is a rehearsal's: see silence
	extra       []pipeline.Finding // found while opening
	args        pair
	only        []string // --only
	closers     []func() error
	beside      bool // looks on while another process works: its folders stay
}

// close closes the lanes and what was opened beside them. Errors of a source
// that changed under the reader have been told by then.
func (s *session) close() {
	for _, l := range s.lanes {
		_ = l.Close()
	}
	for i := len(s.closers) - 1; i >= 0; i-- {
		_ = s.closers[i]()
	}
	if s.beside {
		return
	}
	// Nothing is left of private copies; a folder with something in it stays.
	_ = os.Remove(s.private())
}

// private is where private copies of a source in use are made.
func (s *session) private() string { return filepath.Join(s.state, "tmp") }

// logger logs what people should see, without secrets.
func (s *session) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(cleaner{s.app}, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// say prints a line for people: on standard output, or on standard error when
// standard output is for JSON lines. It is for the program's own words: what
// comes from elsewhere goes through clean first, which would mask ordinary words
// where a password is one.
func (a *app) say(format string, args ...any) {
	w := a.out
	if a.json {
		w = a.err
	}
	_, _ = fmt.Fprintf(w, format+"\n", args...)
}

// clean hides secrets.
func (a *app) clean(s string) string {
	if a.redact == nil {
		return s
	}
	return a.redact(s)
}

// describe names both sides without secrets.
func (s *session) describe() (from, to string) {
	if s.to.Database.Kind != env.Postgres {
		return s.from.Origin, s.to.Origin
	}
	return s.from.Origin, s.to.Database.Describe()
}

// pairArgs are the arguments that name this pair again, for the next command.
func (s *session) pairArgs() string {
	out := "--from " + quoteArg(s.args.From)
	if s.args.FromMount != "" {
		out += " --from-mount " + quoteArg(s.args.FromMount)
	}
	out += " " + s.target()
	if len(s.only) > 0 {
		out += " --only " + joinComma(s.only)
	}
	return out
}

func (s *session) target() string {
	out := "--to " + quoteArg(s.args.To)
	if s.args.ToMount != "" {
		out += " --to-mount " + quoteArg(s.args.ToMount)
	}
	if s.args.State != "" {
		out += " --state " + quoteArg(s.args.State)
	}
	return out
}

func quoteArg(v string) string {
	if v != "" && !strings.ContainsAny(v, " \t\n'\"\\$`;&|<>()*?[]{}#~!") {
		return v
	}
	return shellQuote(v)
}

// shellQuote makes one word of a text, for every shell that is like sh.
func shellQuote(v string) string { return "'" + strings.ReplaceAll(v, "'", `'\''`) + "'" }

// stateDir is --state, else NAME.outgrow beside the target's env file. It never
// lies in the source.
func stateDir(t target, source string) (string, error) {
	dir := t.State
	if dir == "" {
		base := strings.TrimSuffix(filepath.Base(filepath.Clean(t.To)), ".env")
		dir = filepath.Join(filepath.Dir(filepath.Clean(t.To)), base+".outgrow")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding the state folder: %w", err)
	}
	if source == "" {
		return abs, nil
	}
	inside, err := within(abs, source)
	if err != nil {
		return "", err
	}
	if inside {
		return "", pipeline.Usage("choosing the state folder", fmt.Errorf("%s lies in the source, which is never written to", abs),
			"name a folder outside the source with --state, or keep the env file elsewhere")
	}
	return abs, nil
}

// within reports whether path is dir or lies below it, links resolved as far as
// the path exists.
func within(path, dir string) (bool, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return false, fmt.Errorf("finding %s: %w", dir, err)
	}
	dir, path = resolve(dir), resolve(path)
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)), nil
}

func resolve(p string) string {
	if real, err := filepath.EvalSymlinks(p); err == nil {
		return real
	}
	if parent := filepath.Dir(p); parent != p {
		return filepath.Join(resolve(parent), filepath.Base(p))
	}
	return p
}

// tallies sums quarantine and ledger over the lanes.
func (s *session) tallies(ctx context.Context) (refused, changed []pipeline.Tally, err error) {
	for _, l := range s.lanes {
		if l.Journal() == nil || l.InPlace() {
			continue
		}
		r, c, err := l.Journal().Tallies(ctx)
		if err != nil {
			return nil, nil, err
		}
		refused, changed = append(refused, r...), append(changed, c...)
	}
	return refused, changed, nil
}

// stillTheSame reports whether the lane's source is as it was when it was opened.
func (s *session) stillTheSame(ctx context.Context, l mover) (bool, error) {
	type now interface{ StateNow() (string, error) }
	src, ok := s.sourceOf(l).(now)
	if !ok {
		if _, embedded := s.sourceOf(l).(*chroma.Source); embedded || l.Kind() == pipeline.Files && !s.alone(l) {
			return true, nil // the database beside it tells
		}
		moved, err := l.Moved(ctx)
		return !moved, err
	}
	id, err := l.Identity(ctx)
	if err != nil {
		return false, err
	}
	state, err := src.StateNow()
	return state == id.State, err
}

// alone reports whether nothing but the lane of files itself tells whether its
// source has changed.
func (s *session) alone(l mover) bool {
	return fileStoreOf(s.from.Files) != nil || !slices.ContainsFunc(s.lanes, func(o mover) bool { return o.Kind() == pipeline.Rows })
}

// unfit says why the target must not be started now, "" when it may.
func (s *session) unfit() string {
	ctx := context.WithoutCancel(s.app.ctx)
	for _, l := range s.lanes {
		if l.InPlace() {
			continue
		}
		st, err := statusOf(ctx, l)
		if err != nil {
			return "the target cannot be asked how far it is"
		}
		switch {
		case len(st.Without) > 0:
			return fmt.Sprintf("%s of the %s are not back yet", missing(st.Without), st.Lane)
		case st.Parts > 0 && st.Done < st.Parts:
			return fmt.Sprintf("the %s are not complete", st.Lane)
		case st.Parts == 0 && len(l.Units()) > 0:
			return fmt.Sprintf("the %s are not there", st.Lane)
		case st.Lane == pipeline.Vectors && !st.Complete:
			return "the vectors are not finished"
		case st.Lane == pipeline.Rows && !st.Complete:
			return "its schema revision is not written yet"
		}
	}
	return ""
}

// incomplete says what the target lacks although all that could be compared may
// be equal: tables and columns, and what a migration that has not ended owes it.
// "" when nothing is known to be missing.
func (s *session) incomplete() string {
	gaps := slices.Clone(s.gaps)
	ctx := context.WithoutCancel(s.app.ctx)
	for _, l := range s.lanes {
		if l.InPlace() {
			continue
		}
		switch st, err := statusOf(ctx, l); {
		case err != nil:
			gaps = append(gaps, "the target cannot be asked how far it is")
		case len(st.Without) > 0:
			gaps = append(gaps, fmt.Sprintf("%s of the %s are not back yet", missing(st.Without), st.Lane))
		case st.Parts > 0 && !st.Complete:
			gaps = append(gaps, fmt.Sprintf("the migration of the %s has not come to its end", st.Lane))
		}
	}
	return strings.Join(gaps, "; ")
}
