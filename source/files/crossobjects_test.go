package files

import (
	"slices"
	"testing"
	"time"

	"outgrow/pipeline"
)

// The rows are compared with uploads that are read as records just as with a
// folder.
func TestCrossCheckObjects(t *testing.T) {
	dir := tree(t, map[string]string{"uploads/1_a.txt": "12345", "uploads/2_b.txt": "x", "uploads/stray": "y", "cache/audio/z": "z"})
	rows := func(yield func(FileRow, error) bool) {
		for _, r := range []FileRow{
			{ID: "1", Path: "/d/uploads/1_a.txt", Size: 5},
			{ID: "2", Path: "s3://b/2_b.txt", Size: 7},
			{ID: "3", Path: "/d/uploads/3_c.txt", Created: time.Unix(100, 0)},
			{ID: "4"},
		} {
			if !yield(r, nil) {
				return
			}
		}
	}
	s, err := Open(t.Context(), Config{Mount: dir, Units: []string{"uploads"}})
	if err != nil {
		t.Fatal(err)
	}
	if units, err := s.Units(t.Context()); err != nil || len(units) != 1 || units[0].Records != 3 {
		t.Errorf("units %v, %v", units, err)
	}
	want, err := CrossCheck(t.Context(), dir, rows)
	if err != nil {
		t.Fatal(err)
	}
	got, err := CrossCheckObjects(t.Context(), s, rows)
	if err != nil || got.Missing != 1 || got.Strays != 1 || !got.Newest.Equal(want.Newest) || got.MissingAfter(time.Unix(99, 0)) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	of := func(c Crossing) (out []pipeline.Reason) {
		for _, f := range c.Findings {
			out = append(out, f.Reason)
		}
		slices.Sort(out)
		return out
	}
	if !slices.Equal(of(got), of(want)) || len(got.Findings) != 3 {
		t.Errorf("findings %v, of the folder %v", of(got), of(want))
	}
}
