package gcs

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"outgrow/mappings/env"
	"outgrow/mappings/objects/objectstest"
	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	"outgrow/pipeline/pipetest"
	"outgrow/sink/objects"
	"outgrow/testdata/servers"
)

var uploads = pipeline.Unit{Lane: pipeline.Files, Name: "uploads"}

func object(name string, body []byte) *pipeline.Object {
	return &pipeline.Object{Name: name, Bytes: int64(len(body)), Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(string(body))), nil
	}}
}

// The names are no longer than fake-gcs-server can keep.
func TestConformance(t *testing.T) {
	server := servers.GCS(t)
	targets := map[string]env.GCSConfig{}
	pipetest.TestSink(t, pipetest.SinkCase[*pipeline.Object]{
		Target: func(t testing.TB) string {
			dir := t.TempDir()
			targets[dir] = config(t, server)
			return dir
		},
		Open: func(t testing.TB, target string) (pipeline.Sink[*pipeline.Object], pipeline.Journal) {
			j, err := localstate.Open(context.Background(), target, pipeline.Files)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Open(context.Background(), targets[target], filepath.Join(target, "uploads"), objects.Config{})
			if err != nil {
				t.Fatal(err)
			}
			s.up.part = 4 * quantum // so that some of them are large
			return s, j
		},
		Records: func(testing.TB) []pipetest.Expected[*pipeline.Object] {
			up := pipetest.Expected[*pipeline.Object]{Unit: uploads}
			for i := range 25 {
				up.Records = append(up.Records, object(fmt.Sprintf("uploads/%02d_naïve café (%d).txt", i, i), random(i*i*30)))
			}
			up.Records = append(up.Records, object("uploads/"+strings.Repeat("n", 200), []byte("1")), object("uploads/b%20\\c+d", []byte("2")),
				object("uploads/large", random(9*quantum+7)))
			return []pipetest.Expected[*pipeline.Object]{up}
		},
		Bad: func(testing.TB) []pipetest.Expected[*pipeline.Object] {
			return []pipetest.Expected[*pipeline.Object]{{Unit: uploads, Records: []*pipeline.Object{
				object("uploads/../webui.db", nil), object("cache/audio/x", nil), object("uploads/"+strings.Repeat("n", 256), nil), object("uploads/\xff", nil),
				object("uploads/folder/x", nil)}}}
		},
		Change: func(o *pipeline.Object) *pipeline.Object { return object(o.Name, random(int(o.Bytes)+7)) },
		ReadBack: func(t testing.TB, target string) pipeline.Source[*pipeline.Object] {
			return objectstest.ReadBack(t, uploader(t, targets[target], "").b)
		},
		Seeds: 4,
	})
}
