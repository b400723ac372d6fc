package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// Strays finds what the lane's source got after the last pass; with carry it is
// written to the target.
func (l *lane[T]) Strays(ctx context.Context, meter *pipeline.Meter, dir string, carry bool, report func(pipeline.Stray)) ([]pipeline.UnitStrays, error) {
	if l.inPlace {
		return nil, nil // there is no other side
	}
	d, err := l.openDigests(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer d.Close() //nolint:errcheck // what is lost of it is found again
	target, ok := l.back.(pipeline.Getter[T])
	if carry && !ok {
		return nil, fmt.Errorf("reading the %s back: %w", l.kind, errors.ErrUnsupported)
	}
	found, err := pipeline.Strays(ctx, pipeline.Delta[T]{Source: l.source, Sink: l.sink, Transforms: l.transforms, Units: l.units, Workers: l.workers,
		Meter: meter, Rate: l.rate, Log: l.log, Journal: l.journal, Digests: d, Target: target, Equal: l.equal}, carry, report)
	if errors.Is(err, pipeline.ErrUnknown) {
		return found, pipeline.Usage("looking for what the "+string(l.kind)+" got since the last pass", err,
			"name the state folder of the cutover with --state; the digests of its last pass are there")
	}
	if err != nil || !carry {
		return found, err
	}
	if f, ok := l.sink.(interface{ Flush(context.Context) error }); ok {
		return found, f.Flush(ctx)
	}
	return found, nil
}

// strayRun is one reading of the old side for what was written there too late.
type strayRun struct {
	*app
	*session
	meter *pipeline.Meter
	carry bool
	began time.Time

	list  *strayList
	units []pipeline.UnitStrays
}

// straysFile lists, in the state folder, every stray by unit and key.
const straysFile = "strays.jsonl"

// strayList is a file with a line for each record, by unit and key.
type strayList struct {
	path string
	mu   sync.Mutex
	file *os.File
	w    *bufio.Writer
}

func newStrayList(path string) (*strayList, error) {
	f, err := createPrivate(path)
	if err != nil {
		return nil, pipeline.Environment("writing "+path, err, "name a writable folder with --state")
	}
	return &strayList{path: path, file: f, w: bufio.NewWriter(f)}, nil
}

func (l *strayList) add(s pipeline.Stray) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if line, err := json.Marshal(s); err == nil {
		_, _ = l.w.Write(append(line, '\n')) // close tells
	}
}

func (l *strayList) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := errors.Join(l.w.Flush(), l.file.Close()); err != nil {
		return pipeline.Environment("writing "+l.path, err, "free disk space in the state folder")
	}
	return nil
}

// read goes over all lanes, one after the other: files that rows lead to first.
func (r *strayRun) read(ctx context.Context) (err error) {
	if r.list, err = newStrayList(filepath.Join(r.state, straysFile)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.list.close()) }()
	told := r.hub.Section("strays", r.meter, r.redact)
	defer func() { told.End(err) }()
	d := startDisplay(r.err, r.json, r.meter, r.lanes)
	if r.json {
		d.stop()
	} else {
		defer d.stop()
	}
	found := make([][]pipeline.UnitStrays, len(r.lanes))
	order := [][]pipeline.Lane{{pipeline.Files, pipeline.Vectors}, {pipeline.Rows}}
	for _, kinds := range order {
		g, gctx := errgroup.WithContext(ctx)
		for i, l := range r.lanes {
			if !slices.Contains(kinds, l.Kind()) {
				continue
			}
			g.Go(func() error {
				return told.Lane(l.Kind(), func() (err error) {
					found[i], err = l.Strays(gctx, r.meter, r.state, r.carry, r.list.add)
					return err
				})
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	for _, u := range found {
		r.units = append(r.units, u...)
	}
	return nil
}

// carryOver writes what was written on the wrong side to the target.
func (c *syncCmd) carryOver(a *app) error {
	from, ferr := env.Load("from", c.From, c.FromMount, a.environ)
	if ferr != nil {
		return configuration(from, env.Deployment{}, c.laneFlags, ferr)
	}
	// Before the source is opened: what is written from now on is another stray.
	now, err := lookAt(a, from, c.Stopped != nil && *c.Stopped)
	if err != nil {
		return err
	}
	s, err := a.open(c.pair, c.laneFlags, openOptions{write: true, verify: true, chown: c.Chown, accept: c.Accept})
	if err != nil {
		return err
	}
	defer s.close()
	m := &migration{app: a, session: s, meter: &pipeline.Meter{}, began: time.Now(), pass: &pass{}}
	if err := m.follow(a.ctx); err != nil {
		return err
	}
	r := &strayRun{app: a, session: s, meter: m.meter, carry: true, began: m.began}
	if err := r.read(a.ctx); err != nil {
		return err
	}
	if err := r.conclude("carried"); err != nil {
		return err
	}
	kept, err := readCutover(s.state, cutoverFile)
	if err != nil || kept.Phase != phaseDone {
		return err
	}
	kept.Source = now
	return kept.save(s.state, cutoverFile)
}

// conclude tells what was found, and what became of it.
func (r *strayRun) conclude(done string) error {
	var sum pipeline.UnitStrays
	for _, u := range r.units {
		sum.Add(u)
	}
	code := pipeline.ExitOK
	if r.carry && sum.Conflicts+sum.Refused > 0 || !r.carry && sum.Any() {
		code = pipeline.ExitDiffers
	}
	path, err := updateReport(r.state, func(rep *report) {
		rep.Watch = &watchReport{At: r.began.UTC(), Seconds: time.Since(r.began).Seconds(), Carried: r.carry, Units: r.units, Exit: code, File: r.list.path}
	})
	if err != nil {
		return err
	}
	if r.json {
		emit(r.out, event{Event: "strays", Exit: code, Detail: map[string]any{"units": r.units, "carried": r.carry, "report": filepath.Join(r.state, reportJSON), "page": path}})
		return judged(code)
	}
	if !sum.Any() {
		r.say("done    nothing was written to the old side since the last pass")
		return nil
	}
	r.say("split brain: %s", strayText(r.units))
	for _, u := range r.units {
		r.say("  %-42s %s new, %s changed, %s removed", printable(u.Unit), number(u.New), number(u.Changed), number(u.Removed))
	}
	if r.carry {
		r.say("%s %s to the target, nothing was removed there", done, plural(sum.Carried, "record"))
	} else {
		r.say("fix     stop the old Open WebUI for good, then carry it over: outgrow sync %s --strays", r.pairArgs())
	}
	if sum.Conflicts > 0 {
		r.say("conflict %s that the target does not hold as the last pass left them: the target's were left as they are", plural(sum.Conflicts, "record"))
	}
	if sum.Refused > 0 {
		r.say("refused %s that the target cannot hold any more: whole, in the quarantine (outgrow status %s --quarantine)", plural(sum.Refused, "record"), r.target())
	}
	r.say("list    %s", r.list.path)
	return judged(code)
}

// strayText names what was written on the wrong side: "3 chats, 1 file".
func strayText(units []pipeline.UnitStrays) string {
	var parts []string
	vectors, collections := int64(0), int64(0)
	for _, u := range units {
		n := u.New + u.Changed + u.Removed + u.Conflicts + u.Refused
		id := pipeline.UnitOf(u.Unit)
		switch id.Lane {
		case pipeline.Rows:
			parts = append(parts, plural(n, strings.ReplaceAll(id.Name, "_", " ")))
		case pipeline.Files:
			parts = append(parts, plural(n, "file")+" of "+id.Name)
		default:
			vectors, collections = vectors+n, collections+1
		}
	}
	if collections > 0 {
		parts = append(parts, plural(vectors, "vector")+" in "+plural(collections, "collection"))
	}
	return strings.Join(parts, ", ")
}
