package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// Files of the state folder that keep what one command was told for the next.
const (
	acceptedFile  = "accepted"     // reasons that plan --accept agreed to
	conflictsFile = "id-conflicts" // --id-conflicts of plan or migrate
	lanesFile     = "lanes"        // the lanes that migrate has begun
)

// readChoices takes what an earlier command was told, and what this one is.
func (s *session) readChoices(accept []string, idConflicts string) {
	s.consent = consentTo(accept)
	for r := range consentTo(s.kept(acceptedFile)) {
		s.consent[r] = true
	}
	s.idConflicts = failOnIDs
	if old := s.kept(conflictsFile); len(old) == 1 && old[0] == mapIDs {
		s.idConflicts = mapIDs
	}
	if s.conflictsGiven = idConflicts != ""; s.conflictsGiven {
		s.idConflicts = idConflicts
	}
}

func (s *session) kept(name string) []string {
	body, err := os.ReadFile(filepath.Join(s.state, name))
	if err != nil {
		return nil
	}
	return strings.Fields(string(body))
}

func (s *session) keep(name string, words []string) error {
	if slices.Equal(words, s.kept(name)) {
		return nil
	}
	if err := os.MkdirAll(s.state, 0o700); err != nil {
		return pipeline.Environment("making the state folder", err, "name a writable folder with --state")
	}
	return writeFile(filepath.Join(s.state, name), []byte(strings.Join(words, "\n")+"\n"))
}

// keepConsent keeps what plan was told, for migrate.
func (s *session) keepConsent() error {
	if len(s.consent) > 0 {
		var words []string
		for _, r := range s.consent.reasons() {
			words = append(words, string(r))
		}
		if err := s.keep(acceptedFile, words); err != nil {
			return err
		}
	}
	return s.keepConflicts()
}

func (s *session) keepConflicts() error {
	if !s.conflictsGiven {
		return nil
	}
	return s.keep(conflictsFile, []string{s.idConflicts})
}

// keepChoices keeps what migrate was told and which lanes it has begun, for
// verify, status and replay.
func (s *session) keepChoices() error {
	if err := s.keepConflicts(); err != nil {
		return err
	}
	lanes := s.kept(lanesFile)
	for _, l := range s.lanes {
		if !slices.Contains(lanes, string(l.Kind())) {
			lanes = append(lanes, string(l.Kind()))
		}
	}
	slices.Sort(lanes)
	return s.keep(lanesFile, lanes)
}

// sameChoice refuses another --id-conflicts than the one that a run of vectors
// was begun with: half of its records have ids by the other.
func (m *migration) sameChoice(ctx context.Context, l mover, res pipeline.Resumed) error {
	if l.Kind() != pipeline.Vectors {
		return nil
	}
	marks, err := l.Journal().Marked(ctx)
	if err != nil {
		return err
	}
	old := marks[conflictsFile]
	if old == "" && !res.Fresh {
		parts, err := l.Journal().All(ctx)
		if err != nil {
			return err
		}
		if len(parts) > 0 {
			old = failOnIDs // begun before there was a choice
		}
	}
	switch old {
	case m.idConflicts:
		return nil
	case "":
		return l.Journal().Mark(ctx, conflictsFile, m.idConflicts)
	}
	return pipeline.Usage("resuming", fmt.Errorf("this run was begun with --id-conflicts=%s", old),
		"say --id-conflicts="+old+", or start over with --replace")
}

// hasState reports whether the lane has a journal in the state folder.
func (s *session) hasState(l pipeline.Lane) bool {
	_, err := os.Stat(filepath.Join(s.state, string(l), "state.db"))
	return err == nil
}

// begun reports whether a lane may have been moved to this target: all that the
// target has room for, unless migrate has kept which ones.
func (s *session) begun(l pipeline.Lane) bool {
	if kept := s.kept(lanesFile); len(kept) > 0 {
		return slices.Contains(kept, string(l))
	}
	return l != pipeline.Rows || s.to.Database.Kind == env.Postgres || s.hasState(l)
}
