package objectstest

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/files"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
)

// ReadBack is what a bucket holds now, as a lane of files.
func ReadBack(tb testing.TB, b objects.Bucket) pipeline.Source[*pipeline.Object] {
	tb.Helper()
	found := pipetest.Expected[*pipeline.Object]{Unit: pipeline.Unit{Lane: pipeline.Files, Name: files.Uploads}}
	for info, err := range b.List(context.Background()) {
		if err != nil {
			tb.Fatal(err)
		}
		found.Records = append(found.Records, &pipeline.Object{Name: files.Uploads + "/" + info.Key, Bytes: info.Bytes,
			Open: func(ctx context.Context) (io.ReadCloser, error) { return b.Open(ctx, info, 0) }})
	}
	slices.SortFunc(found.Records, func(a, b *pipeline.Object) int { return strings.Compare(a.Name, b.Name) })
	return pipetest.NewMemory(pipeline.Limits{}, found)
}
