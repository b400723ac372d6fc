package main

import (
	"path/filepath"
	"strings"
	"time"

	"outgrow/pipeline"
	"outgrow/source/chroma"
	"outgrow/source/sqlite"
)

// storeInUse reports whether another process has the source's embedded vector
// store open for writing. It must be asked before this one opens the store; one
// that cannot be looked at is told of then.
func (o *opener) storeInUse() bool {
	if o.stopped || !o.flags.pick(pipeline.Vectors) || !o.from.Vector.Embedded() {
		return false
	}
	s, err := sqlite.Look(filepath.Join(o.from.Vector.Path, chroma.FileName), o.app.fs)
	return err == nil && s.InUse
}

// lives notes that somebody writes to the source, though its database is at rest.
func (f *sourceFacts) lives(why string) { f.live, f.mode, f.writes = true, "live", why }

// liveFinding says that the source is in use, and by what that is known.
func (f *sourceFacts) liveFinding() pipeline.Finding {
	out := pipeline.Finding{Severity: pipeline.Warn, Reason: "live", Text: "Open WebUI is running on the source: what it writes from now on is not copied", Fix: "stop it for the final run"}
	switch n := int64(f.sessions); {
	case n > 0:
		out.Text, out.Count = plural(n, "session")+" of other programs on the source database: what they write from now on is not copied", n
	case f.writes != "":
		out.Text = "Open WebUI seems to run on the source, though its database is at rest: " + f.writes + ". What is written from now on is not copied"
	}
	return out
}

// folderLook looks at the source's folders of the lanes that take part.
func (s *session) folderLook() (now sight, err error) {
	now.seen = &seen{}
	err = now.folders(s.from, s.src.has(pipeline.Vectors), s.src.has(pipeline.Files))
	return now, err
}

// writtenSince notes that the source's folders were written to since a look, if
// its database does not tell already that it is in use.
func (s *session) writtenSince(before sight) ([]pipeline.Finding, error) {
	if s.src.live {
		return nil, nil
	}
	now, err := s.folderLook()
	if err != nil {
		return nil, err
	}
	what := now.busy(before)
	if len(what) == 0 {
		return nil, nil
	}
	for _, at := range []time.Time{now.seen.vectors.at, now.seen.upload.at} {
		if at.After(s.src.wrote) {
			s.src.wrote = at
		}
	}
	s.src.lives(strings.Join(what, "; "))
	return []pipeline.Finding{s.src.liveFinding()}, nil
}
