package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"golang.org/x/sys/unix"

	"outgrow/mappings/env"
	"outgrow/mappings/objects"
	"outgrow/mappings/s3"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// config names a new bucket of a server.
func config(t *testing.T, s *servers.S3Server, prefix string) env.S3Config {
	t.Helper()
	return env.S3Config{Endpoint: s.Endpoint, AccessKey: env.Secret(s.AccessKey), SecretKey: env.Secret(s.SecretKey),
		Bucket: s.NewBucket(t), Prefix: prefix}
}

func open(t *testing.T, cfg env.S3Config) *s3.Bucket {
	t.Helper()
	b, err := s3.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// put stores an object as boto3 does for Open WebUI: without any checksum.
func put(t *testing.T, b *s3.Bucket, key string, body []byte, more ...func(*sdk.PutObjectInput)) {
	t.Helper()
	in := &sdk.PutObjectInput{Bucket: aws.String(b.Config().Bucket), Key: aws.String(b.Key(key)), Body: bytes.NewReader(body)}
	for _, f := range more {
		f(in)
	}
	if _, err := b.Client().PutObject(t.Context(), in); err != nil {
		t.Fatalf("storing %q: %v", key, err)
	}
}

func list(t *testing.T, b *s3.Bucket) map[string]objects.Info {
	t.Helper()
	all := map[string]objects.Info{}
	for info, err := range b.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all[info.Key] = info
	}
	return all
}

func read(t *testing.T, b *s3.Bucket, info objects.Info, from int64) ([]byte, error) {
	t.Helper()
	r, err := b.Open(t.Context(), info, from)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// oddNames are names of users' files as Open WebUI stores them, without the id.
func oddNames() []string {
	return []string{"plain.txt", "with space.pdf", "tab\there", "new\nline", "percent%20.txt", "50%.txt", "plus+plus.txt", "quest?ion.txt",
		"hash#tag.txt", "amp&ersand=1;x", `back\slash`, `quote".txt`, "apostrophe's", "emoji😀.png", "über.pdf" /* NFC */, "u\u0308ber.pdf" /* NFD */, "漢字.docx",
		"عربى.txt", "<angle>", "a:b|c*d", "dollar$`tick`", "trailing dot.", "trailing space ", "tilde~^{}[]", "#", "cr\rlf\r\n", "\u2028sep", strings.Repeat("日", 70)}
}

func TestOddNames(t *testing.T) {
	b := open(t, config(t, servers.S3(t), "pre fix/ä+%/"))
	const id = "0b5e5f3c-6f0e-4c0e-9d5d-2f4c8b8f0a11_"
	for _, n := range oddNames() {
		put(t, b, id+n, []byte(n))
	}
	all := list(t, b)
	if len(all) != len(oddNames()) {
		t.Errorf("%d of %d are listed", len(all), len(oddNames()))
	}
	for _, n := range oddNames() {
		info, ok := all[id+n]
		if !ok || info.Bytes != int64(len(n)) || info.Sums != (objects.Sums{}) || info.ModTime.IsZero() {
			t.Errorf("%q is listed as %+v", n, info)
			continue
		}
		if got, err := read(t, b, info, 0); string(got) != n || err != nil {
			t.Errorf("%q: %q, %v", n, got, err)
		}
		head, err := b.Head(t.Context(), id+n)
		if err != nil || head.Version != info.Version || head.Bytes != info.Bytes || head.Sums.MD5 != objects.SumsOfBytes(objects.MD5, []byte(n)).MD5 {
			t.Errorf("%q: %+v, %v", n, head, err)
		}
	}
}

// versitygw spells no listing; this is what AWS sends.
func TestDecode(t *testing.T) {
	for spelled, want := range map[string]string{"a+b%2Bc%20d": "a b+c d", "bell%07%0D%0A": "bell\a\r\n", "%25": "%", "%F0%9F%98%80": "😀"} {
		if got, err := s3.Decode(spelled, types.EncodingTypeUrl); got != want || err != nil {
			t.Errorf("%s: %q, %v", spelled, got, err)
		}
		if got, err := s3.Decode(spelled, ""); got != spelled || err != nil {
			t.Errorf("%s as it is: %q, %v", spelled, got, err)
		}
	}
	if _, err := s3.Decode("%zz", types.EncodingTypeUrl); err == nil {
		t.Error("no error")
	}
}

func TestListPagesAndPrefix(t *testing.T) {
	cfg := config(t, servers.S3(t), "pre/")
	b := open(t, cfg)
	for i := range 1100 { // more than a page
		put(t, b, fmt.Sprintf("f%04d", i), nil)
	}
	cfg.Prefix = ""
	all := open(t, cfg)
	put(t, all, "prefix-but-not-below", nil)
	if n := len(list(t, b)); n != 1100 {
		t.Errorf("%d below the prefix", n)
	}
	if n := len(list(t, all)); n != 1101 {
		t.Errorf("%d in all", n)
	}
}

func TestDigests(t *testing.T) {
	b := open(t, config(t, servers.S3(t), ""))
	text := []byte("123456789")
	all := objects.SumsOfBytes(objects.CRC32C|objects.MD5|objects.SHA256, text)
	for name, tt := range map[string]struct {
		set  func(*sdk.PutObjectInput)
		want objects.Algorithms
	}{
		"none":   {func(*sdk.PutObjectInput) {}, objects.MD5},
		"crc32c": {func(in *sdk.PutObjectInput) { in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32c }, objects.MD5 | objects.CRC32C},
		"sha256": {func(in *sdk.PutObjectInput) { in.ChecksumAlgorithm = types.ChecksumAlgorithmSha256 }, objects.MD5 | objects.SHA256},
		"crc32":  {func(in *sdk.PutObjectInput) { in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32 }, objects.MD5},
	} {
		put(t, b, name, text, tt.set)
		info, err := b.Head(t.Context(), name)
		if err != nil || info.Sums != all.Only(tt.want) {
			t.Errorf("%s: %+v, %v", name, info.Sums, err)
		}
		r, err := b.Open(t.Context(), info, 0)
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := r.(objects.Summed); !ok || s.Sums() != all.Only(tt.want) {
			t.Errorf("%s: the content knows no digests", name)
		}
		_ = r.Close()
	}
}

// A server whose ETags are no MD5s, as those of objects that are encrypted by a
// key of KMS: MD5 stays unknown, and nothing else goes wrong.
func TestETagIsNoMD5(t *testing.T) {
	s := servers.S3(t)
	b := open(t, config(t, s, ""))
	put(t, b, "a", []byte("123456789"))
	setETag(t, s, b, "a", "00112233445566778899aabbccddeeff")
	info, err := b.Head(t.Context(), "a")
	if err != nil || s3.PlainETag(info.Version) == "" || info.Sums.MD5 != "" {
		t.Errorf("%+v, %v", info, err)
	}
	if got, err := read(t, b, info, 0); string(got) != "123456789" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// setETag changes what the server says of an object, in the attribute where it
// keeps it.
func setETag(t *testing.T, s *servers.S3Server, b *s3.Bucket, key, etag string) {
	t.Helper()
	if err := unix.Setxattr(s.Folder(b.Config().Bucket)+"/"+key, "user.etag", []byte(`"`+etag+`"`), unix.XATTR_REPLACE); err != nil {
		t.Fatal(err)
	}
}

// Multipart objects have a composite digest, or none.
func TestMultipartDigests(t *testing.T) {
	b := open(t, config(t, servers.S3(t), ""))
	ctx, bucket := t.Context(), aws.String(b.Config().Bucket)
	made, err := b.Client().CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("k"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	if err != nil {
		t.Fatal(err)
	}
	part, err := b.Client().UploadPart(ctx, &sdk.UploadPartInput{Bucket: bucket, Key: aws.String("k"), UploadId: made.UploadId, PartNumber: aws.Int32(1),
		Body: strings.NewReader("123456789"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = b.Client().CompleteMultipartUpload(ctx, &sdk.CompleteMultipartUploadInput{Bucket: bucket, Key: aws.String("k"), UploadId: made.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{ETag: part.ETag, PartNumber: aws.Int32(1), ChecksumSHA256: part.ChecksumSHA256}}}}); err != nil {
		t.Fatal(err)
	}
	info, err := b.Head(ctx, "k")
	if err != nil || info.Sums != (objects.Sums{}) || !strings.HasSuffix(info.Version, `-1"`) {
		t.Errorf("%+v, %v", info, err)
	}
	if got, err := read(t, b, info, 0); string(got) != "123456789" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRangesAndChanges(t *testing.T) {
	b := open(t, config(t, servers.S3(t), "p/"))
	text := bytes.Repeat([]byte("0123456789"), 100_000)
	put(t, b, "a", text)
	put(t, b, "empty", nil)
	all := list(t, b)
	info := all["a"]
	for _, from := range []int64{0, 1, 555_555, info.Bytes - 1, info.Bytes} {
		got, err := read(t, b, info, from)
		if err != nil || !bytes.Equal(got, text[from:]) {
			t.Errorf("from %d: %d bytes, %v", from, len(got), err)
		}
	}
	if got, err := read(t, b, all["empty"], 0); len(got) > 0 || err != nil {
		t.Errorf("empty: %q, %v", got, err)
	}
	if _, err := read(t, b, info, info.Bytes+1); err == nil || pipeline.IsRetryable(err) {
		t.Errorf("beyond the end: %v", err)
	}
	put(t, b, "a", text[1:])
	for _, from := range []int64{0, 5} {
		if _, err := read(t, b, info, from); !errors.Is(err, objects.ErrChanged) {
			t.Errorf("another one, from %d: %v", from, err)
		}
	}
	if _, err := b.Client().DeleteObject(t.Context(), &sdk.DeleteObjectInput{Bucket: aws.String(b.Config().Bucket), Key: aws.String(b.Key("a"))}); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, b, info, 0); !errors.Is(err, fs.ErrNotExist) || pipeline.IsRetryable(err) {
		t.Errorf("gone: %v", err)
	}
	if _, err := b.Head(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("gone: %v", err)
	}
}

// What the server keeps a checksum of is verified when it is read.
func TestDamagedContent(t *testing.T) {
	s := servers.S3(t)
	b := open(t, config(t, s, ""))
	put(t, b, "a", []byte("123456789"))
	if err := os.WriteFile(s.Folder(b.Config().Bucket)+"/a", []byte("123456780"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, b, list(t, b)["a"], 0); !errors.Is(err, objects.ErrDigest) || !pipeline.IsRetryable(err) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRefusals(t *testing.T) {
	s := servers.S3(t)
	good := config(t, s, "")
	closed := servers.StartS3(t)
	closed.Stop()
	for name, tt := range map[string]struct {
		set   func(*env.S3Config)
		hint  string
		retry bool
	}{
		"access key": {func(c *env.S3Config) { c.AccessKey = "nobody" }, "S3_ACCESS_KEY_ID", false},
		"secret key": {func(c *env.S3Config) { c.SecretKey = "wrong-secret" }, "S3_SECRET_ACCESS_KEY", false},
		"bucket":     {func(c *env.S3Config) { c.Bucket = "there-is-none" }, "S3_BUCKET_NAME", false},
		"region":     {func(c *env.S3Config) { c.Region = "eu-central-1" }, "S3_REGION_NAME", false},
		"refused":    {func(c *env.S3Config) { c.Endpoint = closed.Endpoint }, "S3_ENDPOINT_URL", true},
		"tls":        {func(c *env.S3Config) { c.Endpoint = strings.Replace(s.Endpoint, "http:", "https:", 1) }, "S3_ENDPOINT_URL", false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			tt.set(&cfg)
			_, err := s3.Open(t.Context(), cfg)
			if err == nil {
				t.Fatal("it opens")
			}
			t.Log(err)
			if pipeline.ExitCode(err) != pipeline.ExitEnvironment || !strings.Contains(pipeline.HintOf(err), tt.hint) || pipeline.IsRetryable(err) != tt.retry {
				t.Errorf("exit %d, retryable %v, hint %q: %v", pipeline.ExitCode(err), pipeline.IsRetryable(err), pipeline.HintOf(err), err)
			}
			for _, secret := range []string{s.SecretKey, "wrong-secret"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the secret is told: %v", err)
				}
			}
		})
	}
}

func TestNoCredentials(t *testing.T) {
	cfg := config(t, servers.S3(t), "")
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "", "AWS_EC2_METADATA_DISABLED": "true", "HOME": t.TempDir(),
		"AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": ""} {
		t.Setenv(k, v)
	}
	keys := [2]string{cfg.AccessKey.Reveal(), cfg.SecretKey.Reveal()}
	cfg.AccessKey, cfg.SecretKey = "", ""
	_, err := s3.Open(t.Context(), cfg)
	if pipeline.ExitCode(err) != pipeline.ExitEnvironment || !strings.Contains(pipeline.HintOf(err), "S3_ACCESS_KEY_ID") {
		t.Errorf("%v, hint %q", err, pipeline.HintOf(err))
	}
	// The default chain: the environment.
	t.Setenv("AWS_ACCESS_KEY_ID", keys[0])
	t.Setenv("AWS_SECRET_ACCESS_KEY", keys[1])
	if _, err := s3.Open(t.Context(), cfg); err != nil {
		t.Error(err)
	}
}

func TestRestart(t *testing.T) {
	s := servers.StartS3(t)
	b := open(t, config(t, s, ""))
	put(t, b, "a", []byte("content"))
	info, err := b.Head(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if _, err := b.Head(t.Context(), "a"); !pipeline.IsRetryable(err) || pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Errorf("the server is down: %v", err)
	}
	s.Restart(t)
	if got, err := read(t, b, info, 0); string(got) != "content" || err != nil {
		t.Errorf("after the restart: %q, %v", got, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("stopped")
	cancel(reason)
	if _, err := b.Head(ctx, "a"); !errors.Is(err, reason) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestTagging(t *testing.T) {
	for text, want := range map[string]string{"Zoë Müller, Jr.": "Zo Müller Jr.", "a+b-c=d._:/@e": "a+b-c=d._:/@e", "x;<>,&\n": "x", "": "",
		strings.Repeat("ä", 300): strings.Repeat("ä", 256)} {
		if got := s3.TagText(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	if got := s3.Tagging(map[string]string{s3.TagUserName: "Zoë Müller", s3.TagEmail: "a+b@c.de"}); got != "OpenWebUI-User-Email=a%2Bb%40c.de&OpenWebUI-User-Name=Zo%20M%C3%BCller" {
		t.Error(got)
	}
	if got := s3.Tagging(nil); got != "" {
		t.Error(got)
	}
}

func TestDescribe(t *testing.T) {
	cfg := env.S3Config{Endpoint: "https://user:pass@minio.internal:9000", Bucket: "owui", Prefix: "a/", AccessKey: "AKIA", SecretKey: "SECRET"}
	if got := s3.Describe(cfg); got != "s3://owui/a/ at minio.internal:9000" {
		t.Error(got)
	}
	if got := s3.Fingerprint(cfg); got != "s3:owui/a/" {
		t.Error(got)
	}
}
