package azure

import (
	"bytes"
	"context"
	"fmt"
	"io"
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
		return io.NopCloser(bytes.NewReader(body)), nil
	}}
}

func sink(t testing.TB, cfg env.AzureConfig, more objects.Config) *Sink {
	t.Helper()
	s, err := Open(context.Background(), cfg, more)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func batch(records ...*pipeline.Object) pipeline.Batch[*pipeline.Object] {
	return pipeline.Batch[*pipeline.Object]{Part: pipeline.Part{Unit: uploads}, Records: records, Read: len(records)}
}

func write(t *testing.T, s *Sink, records ...*pipeline.Object) pipeline.Outcome {
	t.Helper()
	out, err := s.Write(t.Context(), batch(records...))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestConformance(t *testing.T) {
	server := servers.Azure(t)
	targets := map[string]env.AzureConfig{}
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
			return sink(t, targets[target], objects.Config{}), j
		},
		Records: func(testing.TB) []pipetest.Expected[*pipeline.Object] {
			up := pipetest.Expected[*pipeline.Object]{Unit: uploads}
			for i := range 25 {
				up.Records = append(up.Records, object(fmt.Sprintf("uploads/%02d_naïve café (%d).txt", i, i), random(i*i*30)))
			}
			up.Records = append(up.Records, object("uploads/"+strings.Repeat("n", 255), []byte("1")), object("uploads/a\nb%20\\c+d.", []byte("2")), object("uploads/empty", nil))
			return []pipetest.Expected[*pipeline.Object]{up}
		},
		Bad: func(testing.TB) []pipetest.Expected[*pipeline.Object] {
			return []pipetest.Expected[*pipeline.Object]{{Unit: uploads, Records: []*pipeline.Object{
				object("uploads/../webui.db", nil), object("cache/audio/x", nil), object("uploads/"+strings.Repeat("n", 256), nil), object("uploads/\xff", nil),
				object("uploads/sub/a", nil)}}}
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
	cfg := config(t, servers.Azure(t))
	through := func() (env.AzureConfig, *servers.FaultProxy) {
		proxy, cfg := servers.NewFaultProxy(t, cfg.Endpoint), cfg
		proxy.Count(servers.Large(1 << 20))
		cfg.Endpoint = proxy.URL
		return cfg, proxy
	}
	first, proxy := through()
	s := sink(t, first, objects.Config{})
	body := random(50 << 20)
	ctx, cancel := context.WithCancel(t.Context())
	cut := object("uploads/large", body)
	cut.Open = func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(body[:40<<20]), stop(cancel))), nil
	}
	if _, err := s.Write(ctx, batch(cut)); err == nil {
		t.Fatal("it is written")
	}
	stored := proxy.Stored()
	if n, err := s.Unfinished(t.Context()); stored > 0 && n != 1 || err != nil {
		t.Errorf("%d unfinished, %v", n, err)
	}
	// Another proxy: the first may still be reading what was given up.
	second, proxy := through()
	s = sink(t, second, objects.Config{})
	if out := write(t, s, object("uploads/large", body), object("uploads/small", body[:9])); out.Written != 2 {
		t.Errorf("%+v", out)
	}
	if got, want := proxy.Sent(), int64(len(body))-stored; got > want {
		t.Errorf("%d bytes were sent, %d were missing", got, want)
	}
	if n, err := s.Unfinished(t.Context()); n != 0 || err != nil {
		t.Errorf("%d unfinished, %v", n, err)
	}
	if u := NewUploader(s.b); !bytes.Equal(content(t, u, "large"), body) || waiting(t, u, "large") > 0 {
		t.Error("another content, or blocks are left")
	}
	if out := write(t, s, object("uploads/large", body), object("uploads/small", body[:9])); out.Written != 2 {
		t.Errorf("again: %+v", out)
	}
	if out := write(t, s, object("uploads/large", body[1:]), object("uploads/small", body[:8])); len(out.Refused) != 2 || out.Refused[0].Reason != pipeline.Duplicate {
		t.Errorf("others: %+v", out)
	}
	s = sink(t, cfg, objects.Config{Replace: true})
	if out := write(t, s, object("uploads/large", body[1:]), object("uploads/small", body[:8])); out.Written != 2 {
		t.Errorf("replaced: %+v", out)
	}
	if u := NewUploader(s.b); !bytes.Equal(content(t, u, "large"), body[1:]) || !bytes.Equal(content(t, u, "small"), body[:8]) {
		t.Error("they are not replaced")
	}
}

// stop is a reader that stops the run, in the middle of a file.
type stop context.CancelFunc

func (s stop) Read([]byte) (int, error) {
	s()
	return 0, context.Canceled
}

// What goes wrong on the way of a large file is got past in one call.
func TestLargeFaults(t *testing.T) {
	body := random(40 << 20)
	for _, do := range []servers.Action{servers.FlipRequest, servers.CutRequest, servers.ServerError, servers.LostAnswer} {
		cfg := config(t, servers.Azure(t))
		proxy := servers.NewFaultProxy(t, cfg.Endpoint)
		cfg.Endpoint = proxy.URL
		s := sink(t, cfg, objects.Config{})
		proxy.Set(&servers.Fault{Do: do, Match: servers.Large(1), After: 1, Times: 2}, // of the blocks, and of the end
			&servers.Fault{Do: do, Match: servers.Large(1), After: 1})
		if out := write(t, s, object("uploads/large", body)); out.Written != 1 || proxy.Met() != 3 {
			t.Errorf("fault %d, met %d times: %+v", do, proxy.Met(), out)
		}
		if !bytes.Equal(content(t, NewUploader(s.b), "large"), body) {
			t.Errorf("fault %d: another content", do)
		}
	}
}

// The service refuses names that an emulator takes.
func TestRefusesOnlyForAzure(t *testing.T) {
	s := sink(t, config(t, servers.Azure(t)), objects.Config{})
	if out := write(t, s, object("uploads/a.", nil), object("uploads/a\tb", nil)); out.Written != 2 {
		t.Errorf("%+v", out)
	}
	up := NewUploader(s.b)
	service, err := objects.Open(t.Context(), objects.Config{Bucket: s.b, Uploader: up, Flat: true, Refuse: refuse})
	if err != nil {
		t.Fatal(err)
	}
	out, err := service.Write(t.Context(), batch(object("uploads/b.", nil), object("uploads/b\tb", nil)))
	if err != nil || len(out.Refused) != 2 || out.Refused[0].Reason != pipeline.Invalid {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	cfg := config(t, servers.Azure(t))
	cfg.Container = "there-is-none"
	if _, err := Open(t.Context(), cfg, objects.Config{}); pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Error(err)
	}
}

// BenchmarkSmall writes 20 KiB files, 2000 an iteration, at the default
// concurrency.
func BenchmarkSmall(b *testing.B) {
	body := random(20 << 10)
	for b.Loop() {
		s := sink(b, config(b, servers.Azure(b)), objects.Config{})
		var records []*pipeline.Object
		for i := range 2000 {
			records = append(records, object(fmt.Sprintf("uploads/%d", i), body))
		}
		if _, err := s.Write(b.Context(), batch(records...)); err != nil {
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
		s := sink(b, config(b, servers.Azure(b)), objects.Config{})
		if _, err := s.Write(b.Context(), batch(object("uploads/large", body))); err != nil {
			b.Fatal(err)
		}
		if _, err := s.b.Head(b.Context(), "large"); err != nil {
			b.Fatal(err)
		}
	}
}
