package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"outgrow/mappings/env"
	"outgrow/mappings/fstype"
	"outgrow/pipeline"
)

// Reasons of what is said of file systems, beside [fstype.Network].
const (
	fileSystem pipeline.Reason = "file-system"
	inMemory   pipeline.Reason = "in-memory"
)

// fileSystems names the types of the file systems that a run works on, "" where
// none takes part.
type fileSystems struct {
	Source string `json:"source,omitempty"` // of the source's DATA_DIR
	Target string `json:"target,omitempty"` // of the target's
	State  string `json:"state,omitempty"`  // of the state folder
}

// targetDatabase refuses a SQLite database as the target of the rows on a file
// system that other machines share. Where the rows stay, it warns of one.
func (o *opener) targetDatabase() error {
	d := o.to.Database
	if d.Kind != env.SQLite || d.Path == "" {
		return nil
	}
	if o.flags.pick(pipeline.Rows) {
		return fstype.TargetSQLite(o.app.fs, d.Path)
	}
	if _, err := os.Stat(d.Path); err != nil || d.Path == o.from.Database.Path {
		return nil // it is none, or the source's, which is told of by itself
	}
	if t, err := o.app.fs.Or()(d.Path); err == nil && !t.SQLite() {
		o.tell(pipeline.Warn, fstype.Network, 0, fmt.Sprintf("the target's webui.db lies on %s, where SQLite's locks and shared memory do not reach other machines: Open WebUI hangs or damages it there", t),
			"move the rows to PostgreSQL, or keep the database on a local disk of the one machine that runs Open WebUI")
	}
	return nil
}

// readsFolder reports whether anything is read from the source's DATA_DIR.
func (s *session) readsFolder() bool {
	below := func(path string) bool {
		in, err := within(path, s.from.Mount)
		return path != "" && err == nil && in
	}
	files := func() bool {
		for _, l := range s.lanes {
			if l.Kind() == pipeline.Files {
				return true
			}
		}
		return false
	}
	return s.from.CheckMount() == nil && (files() || s.db.sqlite != nil && below(s.from.Database.Path) ||
		s.from.Vector.Embedded() && below(s.from.Vector.Path))
}

// writesFolder reports whether files are written to the target's DATA_DIR.
func (s *session) writesFolder() bool {
	for _, l := range s.lanes {
		if l, ok := l.(*lane[*pipeline.Object]); ok && !l.inPlace {
			route, routed := l.sink.(*writeRoute)
			return !routed || route.disk != nil || route.uploads != nil && fileStoreOf(s.to.Files) == nil
		}
	}
	return false
}

// fileSystemFindings names the file systems, and says what is to be known of
// them.
func (s *session) fileSystemFindings() ([]pipeline.Finding, error) {
	var out []pipeline.Finding
	var said []string
	look := func(name, path string) (fstype.Type, error) {
		t, err := s.app.fs.Or()(path)
		if err != nil {
			return t, pipeline.Environment("looking at the file system of "+path, err, "let this user look into it, or mount it again")
		}
		said = append(said, name+" "+t.String())
		return t, nil
	}
	add := func(severity pipeline.Severity, reason pipeline.Reason, text, fix string) {
		out = append(out, pipeline.Finding{Severity: severity, Reason: reason, Text: text, Fix: fix})
	}
	if s.readsFolder() {
		t, err := look("source DATA_DIR", s.from.Mount)
		if err != nil {
			return nil, err
		}
		s.systems.Source = t.String()
	}
	if s.writesFolder() {
		t, err := look("target DATA_DIR", s.to.Mount)
		if err != nil {
			return nil, err
		}
		s.systems.Target = t.String()
		if t.Volatile() {
			add(pipeline.Warn, inMemory, "the target's DATA_DIR lies in memory ("+t.String()+"): the files are gone with the next restart of this machine", "mount a disk or a share there")
		}
	}
	t, err := look("state folder", s.state)
	if err != nil {
		return nil, err
	}
	s.systems.State = t.String()
	switch own := filepath.Clean(s.state); {
	case t.Network():
		add(pipeline.Note, fstype.Network, fmt.Sprintf("the state folder %s lies on %s: every step is flushed to it, which takes its time, and two machines are kept apart only if the share passes locks on", own, t),
			"name a folder on a local disk with --state, and start outgrow on one machine only")
	case t.Volatile():
		add(pipeline.Warn, inMemory, fmt.Sprintf("the state folder %s lies in memory (%s): after a restart of this machine nothing can be resumed, and quarantine and ledger of the files are gone", own, t),
			"name a folder on a disk with --state")
	}
	if s.db.sqlite != nil && !s.src.has(pipeline.Rows) { // else the lane says it
		out = append(out, s.db.sqlite.NetworkFindings()...)
	}
	text := "file systems: " + strings.Join(said, ", ")
	return append(out, pipeline.Finding{Severity: pipeline.Note, Reason: fileSystem, Text: text}), nil
}
