package s3

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"outgrow/mappings/env"
	"outgrow/mappings/objects"
	"outgrow/mappings/s3"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

const all = objects.CRC32C | objects.MD5 | objects.SHA256

func config(t testing.TB, s *servers.S3Server, prefix string) env.S3Config {
	t.Helper()
	return env.S3Config{Endpoint: s.Endpoint, AccessKey: env.Secret(s.AccessKey), SecretKey: env.Secret(s.SecretKey),
		Bucket: s.NewBucket(t), Prefix: prefix}
}

func uploader(t testing.TB, cfg env.S3Config) *Uploader {
	t.Helper()
	b, err := s3.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return NewUploader(b)
}

func uploadOf(key string, body []byte) objects.Upload {
	return objects.Upload{Key: key, Bytes: int64(len(body)), Sums: objects.SumsOfBytes(objects.CRC32C|objects.MD5, body)}
}

func content(t *testing.T, u *Uploader, key string) ([]byte, objects.Info) {
	t.Helper()
	info, err := u.b.Head(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := u.b.Open(t.Context(), info, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return body, info
}

func TestPut(t *testing.T) {
	u, ctx := uploader(t, config(t, servers.S3(t), "pre/")), t.Context()
	body := []byte("123456789")
	up := uploadOf("ä b+c.txt", body)
	up.Tags = map[string]string{s3.TagUserName: "Zoë Müller, Jr.", s3.TagEmail: "a+b@example.org", s3.TagFileID: "1", s3.TagUserID: "2"}
	if err := u.Put(ctx, up, body); err != nil {
		t.Fatal(err)
	}
	got, info := content(t, u, up.Key)
	if want := objects.SumsOfBytes(objects.CRC32C|objects.MD5, body); !bytes.Equal(got, body) || info.Sums != want {
		t.Errorf("%q, %+v", got, info)
	}
	head, err := u.client.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: u.bucket, Key: aws.String("pre/" + up.Key)})
	if err != nil || aws.ToString(head.ContentType) != "binary/octet-stream" || len(head.Metadata) > 0 || aws.ToString(head.ContentEncoding) != "" {
		t.Errorf("%s %q %v, %v", aws.ToString(head.ContentType), aws.ToString(head.ContentEncoding), head.Metadata, err)
	}
	tags, err := u.client.GetObjectTagging(ctx, &sdk.GetObjectTaggingInput{Bucket: u.bucket, Key: aws.String("pre/" + up.Key)})
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]string{}
	for _, x := range tags.TagSet {
		stored[*x.Key] = *x.Value
	}
	for k, want := range map[string]string{s3.TagUserName: "Zo Müller Jr.", s3.TagEmail: "a+b@example.org", s3.TagFileID: "1", s3.TagUserID: "2"} {
		if stored[k] != want {
			t.Errorf("tag %s is %q, not %q", k, stored[k], want)
		}
	}
	other := uploadOf(up.Key, []byte("other"))
	if err := u.Put(ctx, other, []byte("other")); !errors.Is(err, objects.ErrTaken) || pipeline.IsRetryable(err) {
		t.Errorf("the key is taken: %v", err)
	}
	other.Replace = true
	if err := u.Put(ctx, other, []byte("other")); err != nil {
		t.Error(err)
	}
	if got, _ := content(t, u, up.Key); string(got) != "other" {
		t.Errorf("%q", got)
	}
	if err := u.Put(ctx, uploadOf("empty", nil), nil); err != nil {
		t.Error(err)
	}
	if got, info := content(t, u, "empty"); len(got) > 0 || info.Sums.CRC32C != "00000000" {
		t.Errorf("%q, %+v", got, info)
	}
}

func TestPutWrongDigest(t *testing.T) {
	u := uploader(t, config(t, servers.S3(t), ""))
	body := []byte("123456789")
	for name, wrong := range map[string]objects.Sums{
		"crc32c":     {CRC32C: "00000000"},
		"md5":        {MD5: strings.Repeat("0", 32)},
		"md5 beside": {CRC32C: "e3069283", MD5: strings.Repeat("0", 32)},
	} {
		up := objects.Upload{Key: name, Bytes: 9, Sums: wrong}
		if err := u.Put(t.Context(), up, body); !errors.Is(err, objects.ErrDigest) || !pipeline.IsRetryable(err) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := u.b.Head(t.Context(), name); err == nil {
			t.Errorf("%s is stored", name)
		}
	}
}

// A server that does not keep to If-None-Match is asked before; which one it is
// is found out at the first object.
func TestCondition(t *testing.T) {
	u, ctx := uploader(t, config(t, servers.S3(t), "")), t.Context()
	put := func(key, body string) error { return u.Put(ctx, uploadOf(key, []byte(body)), []byte(body)) }
	if err := put("a", "1"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := put("a", "2"); !errors.Is(err, objects.ErrTaken) {
			t.Errorf("taken: %v", err)
		}
		if u.keeps.Load() != kept {
			t.Error("the server keeps to it")
		}
	}
	u.keeps.Store(ignored)
	if err := put("a", "3"); !errors.Is(err, objects.ErrTaken) {
		t.Errorf("taken: %v", err)
	}
	if err := put("b", "4"); err != nil {
		t.Error(err)
	}
	for key, want := range map[string]string{"a": "1", "b": "4"} {
		if got, _ := content(t, u, key); string(got) != want {
			t.Errorf("%s is %q", key, got)
		}
	}
	u.keeps.Store(unknown)
	if err := put("a", "5"); !errors.Is(err, objects.ErrTaken) || u.keeps.Load() != unknown {
		t.Errorf("nothing may be tried on another's object: %v", err)
	}
}

func TestPartSize(t *testing.T) {
	u := &Uploader{}
	for bytes, want := range map[int64]int64{0: 16 << 20, 1: 16 << 20, 156 << 30: 16 << 20, 160 << 30: 17 << 20, 5 << 40: 525 << 20} {
		got := u.PartSize(bytes)
		if got != want || (bytes+got-1)/got > maxParts {
			t.Errorf("%d bytes: parts of %d", bytes, got)
		}
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// random makes a content of several parts.
func random(bytes int) []byte {
	body := make([]byte, bytes)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(body)
	return body
}

// send stores the parts that are not there, as far as the parts numbered until.
func send(ctx context.Context, u *Uploader, p objects.Parts, body []byte, until int) (sent int, err error) {
	size := int(u.PartSize(int64(len(body))))
	for n := 0; n*size < len(body) && n < until; n++ {
		b := body[n*size : min((n+1)*size, len(body))]
		crc := crc32.Checksum(b, castagnoli)
		if p.Has(n, int64(len(b)), crc) {
			continue
		}
		if err := p.Put(ctx, n, b, crc); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

func crc(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
