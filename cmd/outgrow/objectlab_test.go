package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"outgrow/mappings/env"
	layout "outgrow/mappings/files"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// objectStore is a real object store of the tests.
type objectStore struct {
	endpoint string
	bucket   func(testing.TB) string
	// vars names a bucket in Open WebUI's variables, through an endpoint.
	vars func(endpoint, bucket string) map[string]string
	// unfinished names the uploads that a bucket holds parts of; nil where the
	// store does not tell.
	unfinished func(tb testing.TB, bucket string) []string
	// large is how large a file it takes in good time, in MiB.
	large int64
	// part is the most that is sent in one request for a file of up to 1 GiB.
	part int64
}

// eachStore runs a test on every object store, at the same time: most of it is
// waiting. It is skipped on a store that cannot be had.
func eachStore(t *testing.T, test func(*testing.T, objectStore)) {
	t.Helper()
	var all sync.WaitGroup
	for _, s := range []struct {
		name string
		make func(testing.TB) objectStore
	}{{env.S3, s3Store}, {env.GCS, gcsStore}, {env.Azure, azureStore}} {
		all.Go(func() { t.Run(s.name, func(t *testing.T) { test(t, s.make(t)) }) })
	}
	all.Wait()
}

// gcsStore does not tell of unfinished uploads: the server forgets them. It
// digests all that it has of an upload with every part.
func gcsStore(tb testing.TB) objectStore {
	tb.Helper()
	s := servers.GCS(tb)
	return objectStore{
		endpoint: s.Endpoint, bucket: s.Bucket, large: 64, part: max(16<<20, min(64<<20, largeBytes(tb, 64)/16)),
		vars: func(endpoint, bucket string) map[string]string {
			return map[string]string{"STORAGE_PROVIDER": env.GCS, "GCS_BUCKET_NAME": bucket, "STORAGE_EMULATOR_HOST": endpoint}
		},
	}
}

func azureStore(tb testing.TB) objectStore {
	tb.Helper()
	s := servers.Azure(tb)
	return objectStore{
		endpoint: s.Endpoint, bucket: s.Container, large: 128, part: 16 << 20,
		vars: func(endpoint, bucket string) map[string]string {
			return map[string]string{"STORAGE_PROVIDER": env.Azure, "AZURE_STORAGE_ENDPOINT": endpoint, "AZURE_STORAGE_CONTAINER_NAME": bucket, "AZURE_STORAGE_KEY": s.Key}
		},
		// A blob that has only staged blocks is listed, if asked for, beside the others.
		unfinished: func(tb testing.TB, bucket string) (found []string) {
			tb.Helper()
			client := s.Client(tb).ServiceClient().NewContainerClient(bucket)
			count := map[string]int{}
			for _, uncommitted := range []bool{false, true} {
				pages := client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{UncommittedBlobs: uncommitted}})
				for pages.More() {
					page, err := pages.NextPage(context.Background())
					if err != nil {
						tb.Fatal(err)
					}
					for _, b := range page.Segment.BlobItems {
						count[*b.Name]++
					}
				}
			}
			for name, n := range count {
				if n == 1 {
					found = append(found, name)
				}
			}
			return found
		},
	}
}

func s3Store(tb testing.TB) objectStore {
	tb.Helper()
	s := servers.S3(tb)
	return objectStore{
		endpoint: s.Endpoint, bucket: s.NewBucket, large: 128, part: 16 << 20,
		vars: func(endpoint, bucket string) map[string]string {
			return map[string]string{"STORAGE_PROVIDER": env.S3, "S3_ENDPOINT_URL": endpoint, "S3_REGION_NAME": "us-east-1", "S3_ACCESS_KEY_ID": s.AccessKey,
				"S3_SECRET_ACCESS_KEY": s.SecretKey, "S3_BUCKET_NAME": bucket, "S3_KEY_PREFIX": "pre"}
		},
		// versitygw keeps the parts of an upload in a folder of its own.
		unfinished: func(tb testing.TB, bucket string) (found []string) {
			tb.Helper()
			err := filepath.WalkDir(filepath.Join(s.Folder(bucket), ".sgwtmp"), func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					found = append(found, filepath.Base(path))
				}
				return err
			})
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				tb.Fatal(err)
			}
			return found
		},
	}
}

// largeName is the name of the large file of a data folder.
const largeName = "0123abcd-0000-4000-8000-000000000000_large.bin"

// largeBytes is the size of the large file: OUTGROW_LARGE, such as "1GiB", or
// the one given in MiB.
func largeBytes(tb testing.TB, mib int64) int64 {
	tb.Helper()
	text := os.Getenv("OUTGROW_LARGE")
	if text == "" {
		return mib << 20
	}
	unit := int64(1)
	for suffix, u := range map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30} {
		if n, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = n, u
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		tb.Fatalf("OUTGROW_LARGE: %v", err)
	}
	return n * unit
}

// uploadsData is the small real data folder with more uploads: so many of 20 KiB
// and, if it is to have any, a large one of random bytes.
func uploadsData(tb testing.TB, small int, large int64) string {
	tb.Helper()
	dir := servers.DataDir(tb)
	random := rand.NewChaCha8([32]byte{5})
	write := func(name string, size int64) {
		f, err := os.Create(filepath.Join(dir, layout.Uploads, name))
		if err != nil {
			tb.Fatal(err)
		}
		if _, err = io.CopyN(f, random, size); err == nil {
			err = f.Close()
		}
		if err == nil { // no newer than the database
			err = os.Chtimes(f.Name(), time.Time{}, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	for i := range small {
		write(fmt.Sprintf("%08x-0000-4000-8000-000000000000_small %d.bin", i, i), 20<<10)
	}
	if large > 0 {
		write(largeName, large)
	}
	return dir
}

// contents gives the SHA-256 of every upload of a data folder by its name.
func contents(tb testing.TB, data string) map[string]string {
	tb.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(filepath.Join(data, layout.Uploads))
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(data, layout.Uploads, e.Name()))
		if err != nil {
			tb.Fatal(err)
		}
		out[e.Name()] = digest(tb, f)
		_ = f.Close()
	}
	return out
}

func digest(tb testing.TB, r io.Reader) string {
	tb.Helper()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		tb.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// objectLab moves files alone between a data folder and an object store.
type objectLab struct {
	*lab
	store  objectStore
	bucket string
	proxy  *servers.FaultProxy
}

// toStore makes a lab with an empty bucket behind a proxy for the target.
func toStore(tb testing.TB, store objectStore, data string) *objectLab {
	tb.Helper()
	l := &objectLab{lab: &lab{tb: tb, dir: tb.TempDir(), from: data}, store: store, bucket: store.bucket(tb), proxy: servers.NewFaultProxy(tb, store.endpoint)}
	l.share, l.env = filepath.Join(l.dir, "share"), filepath.Join(l.dir, "scaled.env")
	if err := os.Mkdir(l.share, 0o755); err != nil {
		tb.Fatal(err)
	}
	l.vars = store.vars(l.proxy.URL, l.bucket)
	l.vars["DATA_DIR"] = l.share
	l.write()
	return l
}

// fromStore makes a lab of the way back: another data folder's empty uploads
// from what the lab's target holds, through a proxy of their own.
func (l *objectLab) fromStore(tb testing.TB) *objectLab {
	tb.Helper()
	back := &objectLab{lab: &lab{tb: tb, dir: tb.TempDir()}, store: l.store, bucket: l.bucket, proxy: servers.NewFaultProxy(tb, l.store.endpoint)}
	back.share, back.env, back.from = filepath.Join(back.dir, "share"), filepath.Join(back.dir, "b.env"), filepath.Join(back.dir, "a.env")
	if err := os.Mkdir(back.share, 0o755); err != nil {
		tb.Fatal(err)
	}
	back.lab.env, back.lab.vars = back.from, l.store.vars(back.proxy.URL, l.bucket)
	back.vars["DATA_DIR"] = l.from
	back.write()
	back.lab.env, back.lab.vars = filepath.Join(back.dir, "b.env"), map[string]string{"STORAGE_PROVIDER": env.Local, "DATA_DIR": back.share}
	back.write()
	return back
}

// files is a command about the files alone.
func (l *objectLab) files(command string, more ...string) []string {
	return l.pair(command, append([]string{"--only", "files", "--stopped"}, more...)...)
}

// objects gives the SHA-256 of every object of the bucket by its name, read past
// the proxy.
func (l *objectLab) objects() map[string]string {
	l.tb.Helper()
	ctx := context.Background()
	dir := l.tb.TempDir()
	direct := &lab{tb: l.tb, env: filepath.Join(dir, "direct.env"), vars: l.store.vars(l.store.endpoint, l.bucket)}
	direct.vars["DATA_DIR"] = l.share
	direct.write()
	d, err := env.Load("from", direct.env, "", nil)
	if err != nil {
		l.tb.Fatal(err)
	}
	src, err := fileStoreOf(d.Files).source(ctx, fileSide{files: d.Files, spool: dir})
	if err != nil {
		l.tb.Fatal(err)
	}
	defer src.Close()
	var keys []string
	for key, err := range src.Keys(ctx, uploadsUnit()) {
		if err != nil {
			l.tb.Fatal(err)
		}
		keys = append(keys, key)
	}
	found, err := src.Get(ctx, uploadsUnit(), keys)
	if err != nil {
		l.tb.Fatal(err)
	}
	out := map[string]string{}
	for _, key := range keys {
		out[strings.TrimPrefix(key, layout.Uploads+"/")] = l.digestOf(ctx, key, found[key])
	}
	return out
}

func (l *objectLab) digestOf(ctx context.Context, key string, o *pipeline.Object) string {
	l.tb.Helper()
	if o == nil {
		l.tb.Fatalf("%s is listed and not there", key)
	}
	r, err := o.Open(ctx)
	if err != nil {
		l.tb.Fatal(err)
	}
	defer r.Close()
	return digest(l.tb, r)
}

// whole fails unless the target has exactly these contents, and nothing
// unfinished.
func (l *objectLab) whole(want map[string]string) {
	l.tb.Helper()
	var got map[string]string
	if l.vars["STORAGE_PROVIDER"] == env.Local {
		got = contents(l.tb, l.share)
	} else {
		got = l.objects()
	}
	for name, sum := range want {
		switch is, ok := got[name]; {
		case !ok:
			l.tb.Errorf("%q is missing", name)
		case is != sum:
			l.tb.Errorf("%q has other bytes", name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			l.tb.Errorf("%q is there too much", name)
		}
	}
	if l.store.unfinished != nil {
		if left := l.store.unfinished(l.tb, l.bucket); len(left) > 0 {
			l.tb.Errorf("unfinished uploads are left: %s", strings.Join(left, ", "))
		}
	}
}
