package files

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"slices"

	layout "outgrow/mappings/files"
	"outgrow/pipeline"
)

// summary is what one walk over a unit finds.
type summary struct {
	files, bytes int64
	mark         uint64 // sum of hashes of name, size and mtime of every file
}

func (s *Source) sum(ctx context.Context, unit string) (summary, error) {
	var sum summary
	w, err := s.open(unit)
	if err != nil {
		return sum, classify("opening "+unit, err)
	}
	defer w.close()
	err = w.each(ctx, func(e entry) (bool, error) {
		reason, _, info, err := w.inspect(e)
		if err != nil || reason == special || info == nil && reason == "" {
			return err == nil, err
		}
		h := fnv.New64a()
		_, _ = h.Write([]byte(w.name(e.rel)))
		if info != nil {
			sum.bytes += info.Size()
			_ = binary.Write(h, binary.LittleEndian, []int64{info.Size(), info.ModTime().UnixNano()})
		}
		sum.files++
		sum.mark += h.Sum64()
		return true, nil
	})
	return sum, classify("listing "+unit, err)
}

// Identity names the folder by Config.Stable or its inode, and its state by
// name, size and modification time of every file.
func (s *Source) Identity(ctx context.Context) (pipeline.Identity, error) {
	id := pipeline.Identity{Stable: s.cfg.Stable}
	if id.Stable == "" {
		info, err := os.Stat(s.cfg.Mount)
		if err != nil {
			return id, classify("looking at the data folder", err)
		}
		id.Stable = fmt.Sprintf("files-%d", inode(info))
	}
	var all summary
	for _, name := range s.names() {
		sum, err := s.sum(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return id, err
		}
		all.files, all.bytes, all.mark = all.files+sum.files, all.bytes+sum.bytes, all.mark+sum.mark
	}
	id.State = fmt.Sprintf("%d-%d-%016x", all.files, all.bytes, all.mark)
	return id, nil
}

// Count counts the unit's files, also those that Read refuses.
func (s *Source) Count(ctx context.Context, unit pipeline.Unit) (int64, error) {
	sum, err := s.sum(ctx, unit.Name)
	return sum.files, ignoreGone(err)
}

// Keys lists the names of the unit's files, in no order.
func (s *Source) Keys(ctx context.Context, unit pipeline.Unit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		w, err := s.open(unit.Name)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err == nil {
			defer w.close()
			err = w.each(ctx, func(e entry) (bool, error) {
				if e.err == nil && e.mode&(fs.ModeType&^fs.ModeSymlink) != 0 {
					return true, nil
				}
				return yield(layout.Printable(w.name(e.rel)), nil), nil
			})
		}
		if err != nil {
			yield("", classify("listing "+unit.Name, err))
		}
	}
}

// maxParts bounds Split: every part lists its folders for itself.
const maxParts = 16

// Split cuts the unit into parts of about as many files each, at the quantiles
// of an even sample.
func (s *Source) Split(ctx context.Context, unit pipeline.Unit, n int) ([]pipeline.Part, error) {
	const size = 4096
	n = min(n, maxParts)
	var sample []string
	seen := 0
	random := rand.New(rand.NewPCG(1, 2)) // an even choice, no secret
	w, err := s.open(unit.Name)
	if err != nil {
		return []pipeline.Part{{Unit: unit}}, ignoreGone(classify("opening "+unit.Name, err))
	}
	defer w.close()
	err = w.each(ctx, func(e entry) (bool, error) {
		seen++
		if len(sample) < size {
			sample = append(sample, e.rel)
		} else if i := random.IntN(seen); i < size {
			sample[i] = e.rel
		}
		return true, nil
	})
	if err != nil {
		return nil, classify("listing "+unit.Name, err)
	}
	slices.SortFunc(sample, compare)
	n = max(min(n, len(sample)), 1)
	parts := make([]pipeline.Part, n)
	for i := range parts {
		parts[i] = pipeline.Part{Unit: unit, N: i}
		if i > 0 {
			parts[i].From = parts[i-1].To
		}
		if i < n-1 {
			parts[i].To = encode(sample[(i+1)*len(sample)/n-1])
		}
	}
	return parts, nil
}
