package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"outgrow/mappings/env"
	"outgrow/mappings/inspect"
	"outgrow/mappings/schema"
	"outgrow/pipeline"
)

// sourceFacts is what the first screen and the freshness rule know of the
// source.
type sourceFacts struct {
	rows        inspect.Facts
	live        bool      // somebody seems to write to it
	sessions    int       // of other programs on its server
	mode        string    // how it is read
	writes      string    // what tells that it is in use, where its database does not
	wrote       time.Time // when it was last written to, as far as it tells
	held        string    // what holds the rows, and how much
	collections int
	vectors     int64
	store       string // of the vectors, in a few words
	uploads     int64
	upload      int64 // bytes

	lanes  []pipeline.Lane
	key    keyFacts
	source database // nil where the rows are elsewhere; what is said of it and its key is then empty
}

func (f *sourceFacts) has(l pipeline.Lane) bool { return slices.Contains(f.lanes, l) }

// targetFacts is what the first screen says of the target.
type targetFacts struct {
	version int // server_version_num
	vectors string
	files   string
}

// screen prints what is about to happen, and what is safe.
func (s *session) screen(command, run string, resumed bool, findings []pipeline.Finding) {
	a := s.app
	if a.json {
		from, to := s.describe()
		emit(a.out, event{Event: "start", Detail: map[string]any{"command": command, "run": run, "resumed": resumed, "from": from, "to": to,
			"schema": s.src.rows.Head, "mode": s.src.mode, "vectors_from": s.src.store, "vectors_to": s.dst.vectors, "file_systems": s.systems, "findings": findings}})
		return
	}
	title := "outgrow " + command
	switch {
	case run != "" && resumed:
		title += " · run " + run + ", resumed, nothing is done twice"
	case run != "":
		title += " · run " + run
	}
	a.say("%s", title)
	for i, line := range s.fromLines() {
		a.say("%-6s%s", label(i == 0, "from"), line)
	}
	for i, line := range s.toLines() {
		a.say("%-6s%s", label(i == 0, "to"), line)
	}
	if line := s.keyLine(); line != "" {
		a.say("%-6s%s", "key", line)
	}
	var notes []pipeline.Finding
	for _, f := range findings {
		if f.Severity == pipeline.Note {
			a.say("%-6s%s", "note", a.clean(f.Text))
		} else {
			notes = append(notes, f)
		}
	}
	printFindings(cleaner{a}, notes, s.consent)
	a.say("The source is only read. The old app may be started again at any time.")
}

func label(first bool, word string) string {
	if first {
		return word
	}
	return ""
}

// cleaner writes through the redaction.
type cleaner struct{ a *app }

func (c cleaner) Write(p []byte) (int, error) {
	_, err := fmt.Fprint(c.a.out, c.a.clean(string(p)))
	return len(p), err
}

func (s *session) fromLines() []string {
	var parts []string
	if s.src.has(pipeline.Vectors) {
		store := s.src.store
		if strings.Contains(store, " ") {
			store += ":"
		}
		parts = append(parts, fmt.Sprintf("%s %s, %s", store, plural(int64(s.src.collections), "collection"), plural(s.src.vectors, "vector")))
	}
	if s.src.has(pipeline.Files) {
		uploads := fmt.Sprintf("%s (%s)", plural(s.src.uploads, "upload"), size(s.src.upload))
		if st := fileStoreOf(s.from.Files); st != nil {
			uploads = st.describe(s.from.Files) + ": " + uploads
		}
		parts = append(parts, uploads)
	}
	if s.src.source == nil {
		if s.from.Database.Kind == env.Postgres {
			parts = append([]string{"PostgreSQL"}, parts...)
		}
		return []string{s.from.Origin + "   " + strings.Join(parts, " · ")}
	}
	in := s.src.rows
	head := "schema " + in.Head
	if r := schema.Releases(in.Head); len(r) > 0 {
		head = span(r) + " (" + head + ")"
	}
	state := "stopped"
	if s.src.live {
		state = "live"
	}
	if !s.src.wrote.IsZero() {
		state += ": last write " + ago(time.Since(s.src.wrote))
	}
	return []string{
		fmt.Sprintf("%s   Open WebUI %s, %s", s.from.Origin, head, state),
		strings.Join(append([]string{s.src.held}, parts...), " · "),
	}
}

// span shortens a list of releases: "0.12.1 to 0.12.4".
func span(releases []string) string {
	if len(releases) == 1 {
		return releases[0]
	}
	return releases[0] + " to " + releases[len(releases)-1]
}

func (s *session) toLines() []string {
	var parts []string
	if s.src.has(pipeline.Rows) {
		d := s.to.Database.Describe()
		if s.dst.version > 0 {
			d += fmt.Sprintf(" PostgreSQL %d", s.dst.version/10000)
		}
		if s.to.Database.Schema != "" {
			d += " schema " + s.to.Database.Schema
		}
		parts = append(parts, d)
	}
	if s.dst.vectors != "" {
		parts = append(parts, s.dst.vectors)
	}
	if s.dst.files != "" {
		parts = append(parts, "files: "+s.dst.files)
	}
	line := strings.Join(parts, " · ")
	if !s.src.has(pipeline.Rows) {
		line = s.to.Origin + "   " + line
	}
	return []string{line}
}
