package chromahttp

import (
	"bufio"
	"container/heap"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"

	"outgrow/pipeline"
)

// idList sorts ids by their bytes. Beyond a limit they go to a file in sorted
// runs, which are merged again when they are read.
type idList struct {
	dir   string
	limit int
	count int

	ids  []string // of the last run
	size int
	file *os.File // nil while everything is in memory
	runs []run
	end  int64
}

type run struct{ from, to int64 }

func newIDList(dir string, limit int) *idList { return &idList{dir: dir, limit: limit} }

// perID is what an id takes in memory besides its bytes.
const perID = 32

func (l *idList) add(id string) error {
	l.ids = append(l.ids, id)
	l.count++
	if l.size += len(id) + perID; l.size < l.limit {
		return nil
	}
	return l.spill()
}

// spill writes what is in memory as a run. The file has no name: whatever
// happens, nothing of it stays.
func (l *idList) spill() error {
	if l.file == nil {
		f, err := os.CreateTemp(l.dir, "outgrow-ids.")
		if err != nil {
			return spaceError(err)
		}
		l.file = f
		if err := os.Remove(f.Name()); err != nil {
			return spaceError(err)
		}
	}
	slices.Sort(l.ids)
	w := bufio.NewWriterSize(l.file, 64<<10)
	from, buf := l.end, []byte(nil)
	for _, id := range l.ids {
		buf = append(binary.AppendUvarint(buf[:0], uint64(len(id))), id...)
		if _, err := w.Write(buf); err != nil {
			return spaceError(err)
		}
		l.end += int64(len(buf))
	}
	if err := w.Flush(); err != nil {
		return spaceError(err)
	}
	l.runs = append(l.runs, run{from, l.end})
	l.ids, l.size = l.ids[:0], 0
	return nil
}

func spaceError(err error) error {
	return pipeline.Environment("keeping a list of ids", err, "make room in the folder for temporary files, or set TMPDIR to another one")
}

func (l *idList) close() {
	if l.file != nil {
		_ = l.file.Close()
	}
}

// sorted yields all ids in order, each once.
func (l *idList) sorted() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		slices.Sort(l.ids)
		h := merge{}
		if len(l.ids) > 0 {
			h = append(h, &head{rest: l.ids[1:], id: l.ids[0]})
		}
		for _, r := range l.runs {
			x := &head{r: bufio.NewReaderSize(io.NewSectionReader(l.file, r.from, r.to-r.from), 16<<10)}
			if ok, err := x.next(); err != nil {
				yield("", err)
				return
			} else if ok {
				h = append(h, x)
			}
		}
		heap.Init(&h)
		last, any := "", false
		for len(h) > 0 {
			x := h[0]
			if id := x.id; !any || id != last {
				if !yield(id, nil) {
					return
				}
				last, any = id, true
			}
			ok, err := x.next()
			if err != nil {
				yield("", err)
				return
			}
			if ok {
				heap.Fix(&h, 0)
			} else {
				heap.Pop(&h)
			}
		}
	}
}

// head is the next id of a run.
type head struct {
	id   string
	rest []string
	r    *bufio.Reader
}

func (x *head) next() (bool, error) {
	if x.r == nil {
		if len(x.rest) == 0 {
			return false, nil
		}
		x.id, x.rest = x.rest[0], x.rest[1:]
		return true, nil
	}
	n, err := binary.ReadUvarint(x.r)
	if err == io.EOF { //nolint:errorlint // ReadUvarint gives it unwrapped at the end
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("reading the list of ids: %w", err)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(x.r, b); err != nil {
		return false, fmt.Errorf("reading the list of ids: %w", err)
	}
	x.id = string(b)
	return true, nil
}

type merge []*head

func (m merge) Len() int           { return len(m) }
func (m merge) Less(i, j int) bool { return m[i].id < m[j].id }
func (m merge) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }
func (m *merge) Push(x any)        { *m = append(*m, x.(*head)) }
func (m *merge) Pop() any {
	old := *m
	x := old[len(old)-1]
	*m = old[:len(old)-1]
	return x
}
