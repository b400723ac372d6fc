package objects

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	store "outgrow/mappings/objects"
	"outgrow/mappings/objects/objectstest"
	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	"outgrow/pipeline/pipetest"
)

// unreliable makes a tenth of the calls fail before or after they took effect.
func unreliable(m *objectstest.Memory) {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(1, 2))
	m.Fault = func(string, string) error {
		mu.Lock()
		defer mu.Unlock()
		if rng.IntN(20) == 0 {
			return again
		}
		return nil
	}
	m.Lost = m.Fault
}

// The unreliable store goes with the journal on disk, which makes it slow.
func TestConformance(t *testing.T) {
	stores := map[string]func(*objectstest.Memory){
		"plain":      func(*objectstest.Memory) {},
		"sequential": func(m *objectstest.Memory) { m.Sequential, m.NeedCRC32C, m.VerifyBy = true, true, store.CRC32C },
		"streamed":   func(m *objectstest.Memory) { m.Sequential, m.Span, m.NeedCRC32C = true, 3000, true },
		"blind":      func(m *objectstest.Memory) { m.Hides, m.NeedMD5 = true, true },
		"unreliable": unreliable,
	}
	for name, set := range stores {
		t.Run(name, func(t *testing.T) {
			object, targets := object, map[string]*objectstest.Memory{}
			if name == "streamed" {
				object = file
			}
			onDisk, seeds := name == "unreliable", 15
			if onDisk {
				seeds = 4
			}
			pipetest.TestSink(t, pipetest.SinkCase[*pipeline.Object]{
				Target: func(t testing.TB) string {
					dir := t.TempDir()
					targets[dir] = &objectstest.Memory{PartBytes: 1000}
					set(targets[dir])
					return dir
				},
				Open: func(t testing.TB, target string) (pipeline.Sink[*pipeline.Object], pipeline.Journal) {
					s := opened(t, targets[target], func(c *Config) { c.Backoff.Attempts = 20 })
					if !onDisk {
						return s, nil
					}
					j, err := localstate.Open(context.Background(), target, pipeline.Files)
					if err != nil {
						t.Fatal(err)
					}
					return s, j
				},
				Records: func(testing.TB) []pipetest.Expected[*pipeline.Object] {
					up := pipetest.Expected[*pipeline.Object]{Unit: unit("uploads")}
					for i := range 25 {
						up.Records = append(up.Records, object(fmt.Sprintf("uploads/%02d_naïve café (%d).txt", i, i), text(i*i*30)))
					}
					up.Records = append(up.Records, object("uploads/sub/deep/"+strings.Repeat("n", 255), "1"), object("uploads/a\nb%20\\c", "2"))
					return []pipetest.Expected[*pipeline.Object]{up}
				},
				Bad: func(testing.TB) []pipetest.Expected[*pipeline.Object] {
					return []pipetest.Expected[*pipeline.Object]{{Unit: unit("uploads"), Records: []*pipeline.Object{
						object("uploads/../webui.db", "1"), object("cache/audio/x", "2"), object("/etc/passwd", "3"),
						object("uploads/"+strings.Repeat("n", 256), "4"), object("uploads/\xff", "5")}}}
				},
				Change:   func(o *pipeline.Object) *pipeline.Object { return object(o.Name, text(int(o.Bytes)+7)) },
				ReadBack: func(t testing.TB, target string) pipeline.Source[*pipeline.Object] { return readBack(targets[target]) },
				Seeds:    seeds,
			})
		})
	}
}

// readBack is what the bucket holds, past every fault.
func readBack(m *objectstest.Memory) pipeline.Source[*pipeline.Object] {
	all := pipetest.Expected[*pipeline.Object]{Unit: unit("uploads")}
	for _, k := range m.Keys() {
		body, _ := m.Content(k)
		all.Records = append(all.Records, &pipeline.Object{Name: "uploads/" + k, Bytes: int64(len(body)),
			Open: func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader(string(body))), nil
			}})
	}
	return pipetest.NewMemory(pipeline.Limits{}, all)
}
