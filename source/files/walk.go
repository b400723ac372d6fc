package files

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	layout "outgrow/mappings/files"
	"outgrow/pipeline"
)

// entry is something in a unit that is not a folder (or a folder that cannot be
// listed, which has an err).
type entry struct {
	rel  string // path below the unit's root
	mode fs.FileMode
	err  error
}

// walker walks one unit in the order of its paths.
type walker struct {
	s    *Source
	unit string
	// root is the unit's folder, however it was reached: a unit that is itself
	// a link was made so by the operator. Nothing below it leads out of it.
	root *os.Root
	// single is the file's name when the unit is a single file.
	single string
	after  string // the last path that was read, "" for the start
	to     string // the last path of the part, "" for the end of the unit
	done   bool
}

func (s *Source) open(unit string) (*walker, error) {
	w := &walker{s: s, unit: unit}
	at := filepath.Join(s.cfg.Mount, unit)
	info, err := os.Stat(at)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		w.single = filepath.Base(at)
		at = filepath.Dir(at)
	}
	w.root, err = os.OpenRoot(at)
	return w, err
}

func (w *walker) close() { _ = w.root.Close() }

// name gives the object's name of a path below the root.
func (w *walker) name(rel string) string {
	if w.single != "" {
		return w.unit
	}
	return w.unit + "/" + rel
}

// relative is the way back from name; false for what is not in this unit.
func (w *walker) relative(key string) (string, bool) {
	if w.single != "" {
		return w.single, key == w.unit
	}
	rel, ok := strings.CutPrefix(key, w.unit+"/")
	return rel, ok && rel != "" && path.Clean(rel) == rel && filepath.IsLocal(rel)
}

// walk calls visit with every entry after w.after up to w.to; visit says
// whether to go on.
func (w *walker) walk(ctx context.Context, visit func(entry) (bool, error)) error {
	if w.single != "" {
		info, err := w.root.Lstat(w.single)
		if err != nil || w.after != "" {
			return ignoreGone(err)
		}
		_, err = visit(entry{rel: w.single, mode: info.Mode()})
		return err
	}
	return w.folder(ctx, ".", w.after, visit)
}

// folder walks one folder; after is relative to it.
func (w *walker) folder(ctx context.Context, dir, after string, visit func(entry) (bool, error)) error {
	first, rest, _ := strings.Cut(after, "/")
	low, from := first, after != ""
	for {
		items, more, err := w.window(ctx, dir, low, from)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed since
		}
		if errors.Is(err, fs.ErrPermission) && dir != "." {
			w.done, err = step(visit, entry{rel: dir, mode: fs.ModeDir, err: err})
			return err
		}
		if err != nil {
			return fmt.Errorf("listing %s: %w", w.name(dir), err)
		}
		for _, it := range items {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			p := path.Join(dir, it.name)
			if w.to != "" && compare(p, w.to) > 0 {
				w.done = true
				return nil
			}
			again := after != "" && it.name == first
			switch {
			case it.mode.IsDir() && again:
				err = w.folder(ctx, p, rest, visit)
			case it.mode.IsDir():
				err = w.folder(ctx, p, "", visit)
			case !again:
				w.done, err = step(visit, entry{rel: p, mode: it.mode})
			}
			if err != nil || w.done {
				return err
			}
		}
		if !more {
			return nil
		}
		low, from = items[len(items)-1].name, false
	}
}

func step(visit func(entry) (bool, error), e entry) (done bool, err error) {
	more, err := visit(e)
	return !more, err
}

// item is one name in a folder.
type item struct {
	name string
	mode fs.FileMode
}

// names is a heap with the greatest name on top.
type names []item

func (n names) Len() int           { return len(n) }
func (n names) Less(i, j int) bool { return n[i].name > n[j].name }
func (n names) Swap(i, j int)      { n[i], n[j] = n[j], n[i] }
func (n *names) Push(x any)        { *n = append(*n, x.(item)) }
func (n *names) Pop() any {
	old := *n
	x := old[len(old)-1]
	*n = old[:len(old)-1]
	return x
}

// window lists the smallest names above low (from: or equal to it), in order,
// as many as the source holds at a time. more says that there may be others.
func (w *walker) window(ctx context.Context, dir, low string, from bool) (items []item, more bool, err error) {
	var kept names
	high := "" // the part ends here
	if dir == "." {
		high, _, _ = strings.Cut(w.to, "/")
	}
	err = w.list(ctx, dir, func(e fs.DirEntry) error {
		n := e.Name()
		switch {
		case n < low || n == low && !from || high != "" && n > high:
		case len(kept) < w.s.cfg.Window:
			heap.Push(&kept, item{n, e.Type()})
		case n < kept[0].name:
			kept[0] = item{n, e.Type()}
			heap.Fix(&kept, 0)
			more = true
		default:
			more = true
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	slices.SortFunc(kept, func(a, b item) int { return cmp.Compare(a.name, b.name) })
	return kept, more, nil
}

// skipped names are no files of the application's: outgrow's own unfinished
// ones, and those that an NFS client keeps of removed files.
func skipped(name string) bool {
	return strings.HasPrefix(name, layout.PartialPrefix) || len(name) == 28 && strings.HasPrefix(name, ".nfs")
}

// compare orders paths part by part.
func compare(a, b string) int {
	for {
		x, ra, ma := strings.Cut(a, "/")
		y, rb, mb := strings.Cut(b, "/")
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
		if !ma || !mb {
			switch {
			case ma == mb:
				return 0
			case mb:
				return -1
			}
			return 1
		}
		a, b = ra, rb
	}
}

// encode makes a path a cursor that is valid text, decode the way back.
func encode(rel string) pipeline.Cursor {
	plain := utf8.ValidString(rel) && !strings.Contains(rel, "%")
	for i := 0; plain && i < len(rel); i++ {
		plain = rel[i] >= ' '
	}
	if plain {
		return pipeline.Cursor(rel)
	}
	return pipeline.Cursor(url.PathEscape(rel))
}

func decode(c pipeline.Cursor) string {
	if s, err := url.PathUnescape(string(c)); err == nil {
		return s
	}
	return string(c)
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
