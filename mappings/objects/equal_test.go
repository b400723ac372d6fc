package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"outgrow/pipeline"
)

// counted is a record of a content that counts how often it is opened.
func counted(body string, knows Algorithms, opened *int) *pipeline.Object {
	s := SumsOfBytes(knows, []byte(body))
	return &pipeline.Object{Name: "uploads/a", Bytes: int64(len(body)), SHA256: s.SHA256, MD5: s.MD5, CRC32C: s.CRC32C,
		Open: func(context.Context) (io.ReadCloser, error) {
			*opened++
			return io.NopCloser(bytes.NewReader([]byte(body))), nil
		}}
}

func TestEqual(t *testing.T) {
	for _, tt := range []struct {
		name        string
		deep        bool
		want, got   Algorithms
		wantN, gotN int // how often each is read, when the sizes are equal
	}{
		{"nothing is known", false, 0, 0, 1, 1},
		{"only the source knows", false, MD5, 0, 1, 1},
		{"only the target knows", false, 0, CRC32C, 1, 0},
		{"none in common", false, MD5, CRC32C | SHA256, 1, 0},
		{"one in common", false, CRC32C | MD5, MD5 | SHA256, 0, 0},
		{"deep", true, SHA256, SHA256, 1, 1},
	} {
		for body, differs := range map[string]string{"hello": "", "hellO": "not the same bytes", "hello!": "6 bytes instead of 5"} {
			var n, m int
			fields, err := Equal(tt.deep)(t.Context(), pipeline.Unit{}, counted("hello", tt.want, &n), counted(body, tt.got, &m))
			if err != nil {
				t.Fatal(err)
			}
			detail := fmt.Sprint(fields)
			if (len(fields) == 0) != (differs == "") || !strings.Contains(detail, differs) {
				t.Errorf("%s: %q: %v", tt.name, body, fields)
			}
			wantN, gotN := tt.wantN, tt.gotN
			if len(body) != 5 {
				wantN, gotN = 0, 0
			}
			if n != wantN || m != gotN {
				t.Errorf("%s: %q: read %d and %d times", tt.name, body, n, m)
			}
		}
	}
}

func TestEqualFailures(t *testing.T) {
	var n int
	broken := func(err error) *pipeline.Object {
		return &pipeline.Object{Name: "uploads/a", Bytes: 5, Open: func(context.Context) (io.ReadCloser, error) { return nil, err }}
	}
	fields, err := Equal(false)(t.Context(), pipeline.Unit{}, counted("hello", 0, &n), broken(fs.ErrNotExist))
	if err != nil || len(fields) != 1 || !strings.Contains(fields[0].Detail, "removed") {
		t.Errorf("removed: %v, %v", fields, err)
	}
	boom := pipeline.Transient(errors.New("boom"))
	if _, err := Equal(true)(t.Context(), pipeline.Unit{}, broken(boom), counted("hello", 0, &n)); !pipeline.IsRetryable(err) {
		t.Errorf("an error: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Equal(true)(ctx, pipeline.Unit{}, counted("hello", 0, &n), counted("hello", 0, &n)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A content that never is what its store says has rotted there: that is a
// difference and no failure. Once on the way is nothing.
func TestEqualOfRottenContent(t *testing.T) {
	make := func(bad int) *pipeline.Object {
		return &pipeline.Object{Name: "uploads/a", Bytes: 3, Open: func(context.Context) (io.ReadCloser, error) {
			if bad--; bad >= 0 {
				return nil, fmt.Errorf("reading: %w", ErrDigest)
			}
			return io.NopCloser(strings.NewReader("abc")), nil
		}}
	}
	for bad, differs := range map[int]bool{0: false, 2: false, 3: true} {
		for _, pair := range [][2]*pipeline.Object{{make(bad), make(0)}, {make(0), make(bad)}} {
			fields, err := Equal(true)(t.Context(), pipeline.Unit{}, pair[0], pair[1])
			if err != nil || (len(fields) > 0) != differs {
				t.Errorf("bad %d times: %v, %v", bad, fields, err)
			}
		}
	}
}
