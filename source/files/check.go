package files

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	layout "outgrow/mappings/files"
	"outgrow/pipeline"
)

// Reasons of this package's findings and refusals, beside pipeline's.
const (
	EmptyFile  pipeline.Reason = "empty-file"
	FollowLink pipeline.Reason = "link"
	NotMoved   pipeline.Reason = "not-moved"
	NoRow      pipeline.Reason = "no-row"
	SizeOff    pipeline.Reason = "size"
)

// Check looks at every file of the units, and at what else is in the folder:
// files that cannot be moved need consent ([pipeline.Accept]), entries that
// are not moved are noted.
func (s *Source) Check(ctx context.Context, units []pipeline.Unit) ([]pipeline.Finding, error) {
	var f pipeline.Findings
	for _, u := range units {
		if u.Lane != pipeline.Files {
			continue
		}
		w, err := s.open(u.Name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, classify("opening "+u.Name, err)
		}
		err = w.each(ctx, func(e entry) (bool, error) { return true, w.check(&f, u, e) })
		w.close()
		if err != nil {
			return nil, classify("listing "+u.Name, err)
		}
	}
	if slices.Equal(s.cfg.Units, []string{layout.Uploads}) {
		return f.List(), nil // what lies beside them is for the reader of the rest
	}
	if err := s.entries(&f, "."); err != nil {
		return nil, classify("listing the data folder", err)
	}
	return f.List(), nil
}

func (w *walker) check(f *pipeline.Findings, u pipeline.Unit, e entry) error {
	reason, detail, info, err := w.inspect(e)
	if err != nil || info == nil && reason == "" {
		return err
	}
	x := pipeline.Finding{Severity: pipeline.Accept, Reason: reason, Unit: u.ID(), Key: layout.Printable(w.name(e.rel)), Text: detail}
	switch {
	case reason == special:
		x.Severity = pipeline.Warn
		x.Fix = "it is not copied; remove it if nothing uses it"
	case reason == pipeline.Unreadable && e.mode&fs.ModeSymlink != 0:
		x.Fix = "put the file itself in its place, or accept that it stays behind with --accept " + string(reason)
	case reason == pipeline.Unreadable:
		x.Fix = "let this user read it (chmod, or run as the owner), or accept that it stays behind with --accept " + string(reason)
	case reason != "":
		x.Fix = "rename it, or accept that it stays behind with --accept " + string(reason)
	case e.mode&fs.ModeSymlink != 0:
		x.Severity, x.Reason, x.Text = pipeline.Note, FollowLink, "a link: the file that it leads to is copied in its place"
	case info.Size() == 0:
		x.Severity, x.Reason, x.Text = pipeline.Note, EmptyFile, "the file is empty; Open WebUI itself stores none that are"
	default:
		return nil
	}
	f.Add(x)
	return nil
}

// entries notes what lies beside the units.
func (s *Source) entries(f *pipeline.Findings, dir string) error {
	list, err := os.ReadDir(filepath.Join(s.cfg.Mount, dir))
	if err != nil {
		return ignoreGone(err)
	}
	for _, e := range list {
		name := filepath.ToSlash(filepath.Join(dir, e.Name()))
		if slices.Contains(s.cfg.Include, name) {
			continue
		}
		x := pipeline.Finding{Severity: pipeline.Note, Reason: NotMoved, Key: name}
		switch layout.Classify(name) {
		case layout.Folder:
			if err := s.entries(f, name); err != nil {
				return err
			}
			continue
		case layout.Rebuilt:
			x.Text = "not moved: " + layout.Reason(name) + ", which Open WebUI fetches again"
		case layout.Known:
			x.Text = "not moved: " + layout.Reason(name)
			x.Fix = "pass --include " + name + " to take it along"
		case layout.Unknown:
			inside := slices.ContainsFunc(s.cfg.Include, func(i string) bool { return strings.HasPrefix(i, name+"/") })
			if inside {
				continue
			}
			x.Severity = pipeline.Warn
			x.Text = "not moved: Open WebUI does not know it"
			x.Fix = "pass --include " + name + " to take it along"
			if e.IsDir() {
				x.Text = "not moved: a folder that Open WebUI does not know"
			}
		default:
			continue
		}
		f.Add(x)
	}
	return nil
}
