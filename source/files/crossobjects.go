package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	layout "outgrow/mappings/files"
	"outgrow/pipeline"
)

// Objects reads uploads, wherever they are.
type Objects interface {
	pipeline.Source[*pipeline.Object]
	pipeline.Getter[*pipeline.Object]
}

// Lister is a reader that knows its records beforehand: Listed is Get without
// asking the store for what its listing does not tell.
type Lister interface {
	Listed(ctx context.Context, unit pipeline.Unit, keys []string) (map[string]*pipeline.Object, error)
}

// uploads is where the files of rows are looked for. Names are below uploads/.
type uploads interface {
	// look finds those of the names that are there.
	look(ctx context.Context, names []string) (map[string]found, error)
	// each calls visit with every upload, in any order.
	each(ctx context.Context, visit func(name string, modified time.Time)) error
}

// found is what is there under a name; closed: it may not be looked at.
type found struct {
	bytes  int64
	closed bool
}

// nowhere is a DATA_DIR without uploads.
type nowhere struct{}

func (nowhere) look(context.Context, []string) (map[string]found, error)          { return nil, nil }
func (nowhere) each(context.Context, func(name string, modified time.Time)) error { return nil }

// folder is that of a DATA_DIR.
type folder struct{ *walker }

func (w folder) look(_ context.Context, names []string) (map[string]found, error) {
	out := make(map[string]found, len(names))
	for _, name := range names {
		switch info, err := w.root.Stat(name); {
		case errors.Is(err, fs.ErrNotExist), err == nil && !info.Mode().IsRegular():
		case err != nil:
			out[name] = found{closed: true}
		default:
			out[name] = found{bytes: info.Size()}
		}
	}
	return out, nil
}

func (w folder) each(ctx context.Context, visit func(name string, modified time.Time)) error {
	err := w.walker.each(ctx, func(e entry) (bool, error) {
		if e.mode.Type()&^fs.ModeSymlink != 0 {
			return true, nil
		}
		// What is gone meanwhile is none, and of what is closed Check tells.
		if info, err := w.root.Lstat(e.rel); err == nil {
			visit(e.rel, info.ModTime())
		}
		return true, nil
	})
	return classify("listing "+w.unit, err)
}

// reader is a reader of uploads.
type reader struct{ Objects }

func (reader) unit() pipeline.Unit {
	return pipeline.Unit{Lane: pipeline.Files, Name: layout.Uploads}
}

func (r reader) look(ctx context.Context, names []string) (map[string]found, error) {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = layout.Uploads + "/" + name
	}
	get := r.Get
	if l, ok := r.Objects.(Lister); ok {
		get = l.Listed
	}
	have, err := get(ctx, r.unit(), keys)
	if err != nil {
		return nil, fmt.Errorf("looking uploads up: %w", err)
	}
	out := make(map[string]found, len(have))
	for key, o := range have {
		out[strings.TrimPrefix(key, layout.Uploads+"/")] = found{bytes: o.Bytes}
	}
	return out, nil
}

func (r reader) each(ctx context.Context, visit func(name string, modified time.Time)) error {
	for b, err := range r.Read(ctx, pipeline.Part{Unit: r.unit()}, "") {
		if err != nil {
			return fmt.Errorf("listing %s: %w", layout.Uploads, err)
		}
		for _, o := range b.Records {
			visit(strings.TrimPrefix(o.Name, layout.Uploads+"/"), o.ModTime)
		}
	}
	return nil
}
