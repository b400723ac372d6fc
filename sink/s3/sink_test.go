package s3

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"outgrow/mappings/env"
	"outgrow/mappings/objects/objectstest"
	"outgrow/mappings/s3"
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

func sink(t testing.TB, cfg env.S3Config, more objects.Config) *Sink {
	t.Helper()
	s, err := Open(context.Background(), cfg, more)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, s *Sink, records ...*pipeline.Object) pipeline.Outcome {
	t.Helper()
	out, err := s.Write(t.Context(), pipeline.Batch[*pipeline.Object]{Part: pipeline.Part{Unit: uploads}, Records: records, Read: len(records)})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestConformance(t *testing.T) {
	server := servers.S3(t)
	targets := map[string]env.S3Config{}
	pipetest.TestSink(t, pipetest.SinkCase[*pipeline.Object]{
		Target: func(t testing.TB) string {
			dir := t.TempDir()
			targets[dir] = config(t, server, "pre/")
			return dir
		},
		Open: func(t testing.TB, target string) (pipeline.Sink[*pipeline.Object], pipeline.Journal) {
			j, err := localstate.Open(context.Background(), target, pipeline.Files)
			if err != nil {
				t.Fatal(err)
			}
			return sink(t, targets[target], objects.Config{}), j
		},
		Records: func(testing.TB) []pipetest.Expected[*pipeline.Object] {
			up := pipetest.Expected[*pipeline.Object]{Unit: uploads}
			for i := range 25 {
				up.Records = append(up.Records, object(fmt.Sprintf("uploads/%02d_naïve café (%d).txt", i, i), random(i*i*30)))
			}
			up.Records = append(up.Records, object("uploads/"+strings.Repeat("n", 255), []byte("1")), object("uploads/a\nb%20\\c+d", []byte("2")))
			return []pipetest.Expected[*pipeline.Object]{up}
		},
		Bad: func(testing.TB) []pipetest.Expected[*pipeline.Object] {
			return []pipetest.Expected[*pipeline.Object]{{Unit: uploads, Records: []*pipeline.Object{
				object("uploads/../webui.db", nil), object("cache/audio/x", nil), object("uploads/"+strings.Repeat("n", 256), nil), object("uploads/\xff", nil),
				object("uploads/"+strings.Repeat(strings.Repeat("d", 203)+"/", 5)+"x", nil)}}} // too long with the prefix only
		},
		Change: func(o *pipeline.Object) *pipeline.Object { return object(o.Name, random(int(o.Bytes)+7)) },
		ReadBack: func(t testing.TB, target string) pipeline.Source[*pipeline.Object] {
			return objectstest.ReadBack(t, uploader(t, targets[target]).b)
		},
		Seeds: 4,
	})
}

// A run is stopped in a large file; the next sends only what is not there.
func TestLargeResumes(t *testing.T) {
	cfg := config(t, servers.S3(t), "p/")
	s := sink(t, cfg, objects.Config{})
	body := random(50 << 20)
	ctx, cancel := context.WithCancel(t.Context())
	cut := object("uploads/large", body)
	cut.Open = func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader(string(body[:33<<20])), stop(cancel))), nil
	}
	if _, err := s.Write(ctx, pipeline.Batch[*pipeline.Object]{Part: pipeline.Part{Unit: uploads}, Records: []*pipeline.Object{cut}, Read: 1}); err == nil {
		t.Fatal("it is written")
	}
	if n, err := s.Unfinished(t.Context()); n != 1 || err != nil {
		t.Errorf("%d unfinished, %v", n, err)
	}
	s = sink(t, cfg, objects.Config{})
	if out := write(t, s, object("uploads/large", body), object("uploads/small", body[:9])); out.Written != 2 {
		t.Errorf("%+v", out)
	}
	if n, err := s.Unfinished(t.Context()); n != 0 || err != nil {
		t.Errorf("%d unfinished, %v", n, err)
	}
	got, info := content(t, s.up, "large")
	if string(got) != string(body) || info.Sums.CRC32C == "" {
		t.Errorf("%d bytes, %+v", len(got), info)
	}
	if out := write(t, s, object("uploads/large", body), object("uploads/small", body[:9])); out.Written != 2 {
		t.Errorf("again: %+v", out)
	}
	if out := write(t, s, object("uploads/large", body[1:]), object("uploads/small", body[:8])); len(out.Refused) != 2 || out.Refused[0].Reason != pipeline.Duplicate {
		t.Errorf("others: %+v", out)
	}
}

// stop is a reader that stops the run, in the middle of a file.
type stop context.CancelFunc

func (s stop) Read([]byte) (int, error) {
	s()
	return 0, context.Canceled
}

func TestTagsAreOptional(t *testing.T) {
	for _, on := range []bool{false, true} {
		cfg := config(t, servers.S3(t), "")
		cfg.Tagging = on
		s := sink(t, cfg, objects.Config{Tags: func(_ context.Context, name string) (map[string]string, error) {
			return map[string]string{s3.TagFileID: strings.TrimPrefix(name, "uploads/")}, nil
		}})
		write(t, s, object("uploads/id", []byte("1")))
		tags, err := s.up.client.GetObjectTagging(t.Context(), &sdk.GetObjectTaggingInput{Bucket: s.up.bucket, Key: aws.String("id")})
		got := map[string]string{}
		if err == nil {
			for _, x := range tags.TagSet {
				got[*x.Key] = *x.Value
			}
		}
		if want := map[bool]map[string]string{false: {}, true: {s3.TagFileID: "id"}}[on]; !maps.Equal(got, want) {
			t.Errorf("tagging %v: %v, %v", on, got, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	cfg := config(t, servers.S3(t), "")
	cfg.Bucket = "there-is-none"
	if _, err := Open(t.Context(), cfg, objects.Config{}); pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Error(err)
	}
}

// BenchmarkSmall writes 20 KiB files, 2000 an iteration, at the default
// concurrency.
func BenchmarkSmall(b *testing.B) {
	body := random(20 << 10)
	for b.Loop() {
		s := sink(b, config(b, servers.S3(b), ""), objects.Config{})
		batch := pipeline.Batch[*pipeline.Object]{Part: pipeline.Part{Unit: uploads}}
		for i := range 2000 {
			batch.Records = append(batch.Records, object(fmt.Sprintf("uploads/%d", i), body))
		}
		if _, err := s.Write(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(2000*b.N)/b.Elapsed().Seconds(), "files/s")
}

// BenchmarkLarge writes a file of 1 GiB.
func BenchmarkLarge(b *testing.B) {
	body := random(1 << 30)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		s := sink(b, config(b, servers.S3(b), ""), objects.Config{})
		o := &pipeline.Object{Name: "uploads/large", Bytes: int64(len(body)), Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(body)), nil
		}}
		if _, err := s.Write(b.Context(), pipeline.Batch[*pipeline.Object]{Part: pipeline.Part{Unit: uploads}, Records: []*pipeline.Object{o}}); err != nil {
			b.Fatal(err)
		}
	}
}
