package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sync/errgroup"

	layout "outgrow/mappings/files"
	"outgrow/mappings/objects"
	"outgrow/mappings/spool"
	"outgrow/pipeline"
)

// object makes a record of what was listed, or refuses it.
func (s *Source) object(u pipeline.Unit, info objects.Info) (*pipeline.Object, *pipeline.Refusal) {
	o := &pipeline.Object{Name: name(info.Key), Bytes: info.Bytes, ModTime: info.ModTime, SHA256: info.Sums.SHA256, MD5: info.Sums.MD5, CRC32C: info.Sums.CRC32C,
		Version: info.Version}
	if reason, detail := layout.Unfit(info.Key); reason != "" {
		r := pipeline.NewRefusal(u, o, "", reason, detail)
		return nil, &r
	}
	o.Open = func(ctx context.Context) (io.ReadCloser, error) { return s.open(ctx, info) }
	return o, nil
}

// heads bounds how many objects are asked for at a time.
const heads = 16

// Get gives those of the named objects that were listed and are still there,
// with the digests that the store keeps: where the listing has told neither
// CRC32C nor MD5 the object itself is asked.
func (s *Source) Get(ctx context.Context, u pipeline.Unit, names []string) (map[string]*pipeline.Object, error) {
	infos, err := s.find(ctx, u, names)
	if err != nil {
		return nil, err
	}
	gone := make([]bool, len(infos))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(heads)
	for i := range infos {
		if infos[i].Sums.Known()&(objects.CRC32C|objects.MD5) != 0 {
			continue
		}
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			info, err := s.cfg.Bucket.Head(gctx, infos[i].Key)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				gone[i] = true
			case err != nil:
				return fmt.Errorf("looking at %s: %w", name(infos[i].Key), err)
			default:
				info.Key = infos[i].Key
				info.Sums = info.Sums.Or(infos[i].Sums.Only(sameAs(info, infos[i])))
				infos[i] = info
			}
			return nil
		})
	}
	err = g.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	out := make(map[string]*pipeline.Object, len(infos))
	for i, info := range infos {
		if o, _ := s.object(u, info); o != nil && !gone[i] {
			out[o.Name] = o
		}
	}
	return out, nil
}

// sameAs is all digests when both are of the same content, else none.
func sameAs(a, b objects.Info) objects.Algorithms {
	if a.Version == b.Version && a.Bytes == b.Bytes {
		return objects.CRC32C | objects.MD5 | objects.SHA256
	}
	return 0
}

// Listed is Get from the listing alone: it asks the store nothing, and gives
// only the digests that were listed.
func (s *Source) Listed(ctx context.Context, u pipeline.Unit, names []string) (map[string]*pipeline.Object, error) {
	infos, err := s.find(ctx, u, names)
	if err != nil {
		return nil, err
	}
	out := make(map[string]*pipeline.Object, len(infos))
	for _, info := range infos {
		if o, _ := s.object(u, info); o != nil {
			out[o.Name] = o
		}
	}
	return out, nil
}

func (s *Source) find(ctx context.Context, u pipeline.Unit, names []string) ([]objects.Info, error) {
	l, err := s.listed(ctx)
	if err != nil || u.Name != layout.Uploads {
		return nil, err
	}
	keys := make([]string, 0, len(names))
	for _, n := range names {
		if k, ok := key(n); ok {
			keys = append(keys, k)
		}
	}
	infos, err := l.find(keys)
	return infos, spool.Failed(kept, "looking objects up", err)
}
