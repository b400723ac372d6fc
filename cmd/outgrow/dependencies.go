package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"outgrow/mappings/dependencies"
	"outgrow/pipeline"
)

// requirementsFile is what plan writes the packages of tools and functions to, in
// the state folder.
const requirementsFile = "requirements.txt"

// dependencies lists what the deployment leans on and no lane moves. Without a
// database that could be read the variables alone tell.
func (s *session) dependencies(ctx context.Context) (dependencies.Report, error) {
	settings, plugins, err := s.named(ctx)
	r := dependencies.Find(settings, plugins, s.from, s.to)
	switch {
	case s.db.any == nil:
		r.Unknown = "what its settings, tools and functions name: the source's database could not be asked"
	case err != nil && (s.db.whole != nil || ctx.Err() != nil):
		return r, err
	case err != nil: // its rows stay where they are, and it need not let itself be read
		r.Unknown = "what its settings, tools and functions name: " + s.app.clean(err.Error())
	}
	if s.from.CheckMount() == nil {
		r = r.Sum(dependencies.Caches(s.from.Mount))
	}
	for i := range r.Items {
		r.Items[i].Where, r.Items[i].What = s.app.clean(r.Items[i].Where), s.app.clean(r.Items[i].What)
	}
	for i := range r.Requirements {
		r.Requirements[i] = s.app.clean(r.Requirements[i])
	}
	return r, nil
}

// named reads what may name something.
func (s *session) named(ctx context.Context) (settings []dependencies.Setting, plugins []dependencies.Plugin, err error) {
	if s.db.any == nil {
		return nil, nil, nil
	}
	if settings, err = s.db.any.Settings(ctx); err == nil {
		plugins, err = s.db.any.Plugins(ctx)
	}
	return settings, plugins, err
}

// keepRequirements writes requirements.txt, "" where no package is asked for.
func (p *planning) keepRequirements(r dependencies.Report) (string, error) {
	if len(r.Requirements) == 0 {
		return "", nil
	}
	path := filepath.Join(p.state, requirementsFile)
	head := "# Written by outgrow plan: what the frontmatter of tools and functions asks for. Build it into the image.\n"
	if err := writeFile(path, []byte(head+strings.Join(r.Requirements, "\n")+"\n")); err != nil {
		return "", pipeline.Environment("writing requirements.txt", err, "name a writable folder with --state")
	}
	return path, nil
}

// shownItems is how many items of a kind are printed; the report and --json have
// all.
const shownItems = 8

// kindTitles name the kinds for people.
var kindTitles = []struct {
	kind  dependencies.Kind
	title string
}{
	{dependencies.Host, "hosts"}, {dependencies.External, "knowledge"}, {dependencies.File, "files"}, {dependencies.Volume, "volumes"},
	{dependencies.Model, "models"}, {dependencies.Cache, "caches"}, {dependencies.Branding, "branding"}, {dependencies.Package, "packages"},
}

// sayDependencies tells of them kind by kind. What is public or switched off is
// counted.
func (p *planning) sayDependencies(r dependencies.Report, requirements string) {
	if len(r.Items) > 0 {
		p.say("")
		p.say("beside this, the deployment leans on what is not moved:")
	}
	for _, k := range kindTitles {
		var list []dependencies.Item
		idle, public := 0, 0
		for _, i := range r.Items {
			switch {
			case i.Kind != k.kind:
			case i.Idle:
				idle++
			case i.Kind == dependencies.Host && i.Reach == dependencies.Public:
				public++
			default:
				list = append(list, i)
			}
		}
		more := ""
		if n := len(list) - shownItems; n > 0 {
			list, more = list[:shownItems], fmt.Sprintf("%d more", n)
		}
		for _, part := range []struct {
			n    int
			text string
		}{{public, "%d public"}, {idle, "%d switched off"}} {
			if part.n > 0 {
				more = strings.TrimPrefix(more+", "+fmt.Sprintf(part.text, part.n), ", ")
			}
		}
		note := ""
		for n, i := range list {
			what := i.What
			if i.Bytes > 0 {
				what += " (" + size(i.Bytes) + ")"
			}
			p.say("%-9s %-40s %s", label(n == 0, k.title), what, i.Where)
			if i.Note != "" && (n+1 == len(list) || list[n+1].Note != i.Note) && i.Note != note {
				p.say("%-9s   %s", "", i.Note)
				note = i.Note
			}
		}
		if more != "" {
			p.say("%-9s and %s: --json lists them", label(len(list) == 0, k.title), more)
		}
	}
	if r.Unknown != "" {
		p.say("%-9s %s", "unknown", indent(r.Unknown))
	}
	if requirements != "" {
		p.say("%-9s %s holds them: build them into the image, and set ENABLE_PIP_INSTALL_FRONTMATTER_REQUIREMENTS=false, or each instance installs them at each start", "", requirements)
	}
}
