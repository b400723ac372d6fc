package s3

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"outgrow/mappings/objects"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

func begin(t *testing.T, u *Uploader, up objects.Upload) objects.Parts {
	t.Helper()
	p, err := u.Begin(t.Context(), up)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func unfinished(t *testing.T, u *Uploader) int {
	t.Helper()
	n, err := u.Unfinished(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestResume(t *testing.T) {
	cfg := config(t, servers.S3(t), "pre/")
	u, ctx := uploader(t, cfg), t.Context()
	body := random(40<<20 + 1)
	up := uploadOf("großer film?.mp4", body)
	up.Tags = map[string]string{"OpenWebUI-File-Id": "x y"}

	// What boto3 or an older run has left is given up, that of another key is not.
	for _, key := range []string{"pre/" + up.Key, "pre/" + up.Key, "pre/" + up.Key + "x", "elsewhere"} {
		if _, err := u.client.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: u.bucket, Key: aws.String(key)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := unfinished(t, u); n != 3 {
		t.Errorf("%d unfinished below the prefix", n)
	}
	p := begin(t, u, up)
	if n := unfinished(t, u); n != 2 {
		t.Errorf("%d unfinished after the begin", n)
	}
	if n, err := send(ctx, u, p, body, 2); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if err := p.Complete(ctx, objects.SumsOfBytes(all, body)); !errors.Is(err, errParts) {
		t.Errorf("a part is missing: %v", err)
	}

	// The next run, another client.
	u = uploader(t, cfg)
	p = begin(t, u, up)
	if n, err := send(ctx, u, p, body, 3); n != 1 || err != nil {
		t.Errorf("%d parts are sent: %v", n, err)
	}
	if p.Has(0, 16<<20, 1) || p.Has(2, 16<<20, 0) || p.Has(3, 1, 0) {
		t.Error("other parts")
	}
	wrong := objects.SumsOfBytes(all, body[1:])
	if err := p.Complete(ctx, wrong); !errors.Is(err, objects.ErrDigest) || !pipeline.IsRetryable(err) {
		t.Errorf("another whole: %v", err)
	}
	if err := p.Complete(ctx, objects.SumsOfBytes(all, body)); err != nil {
		t.Fatal(err)
	}
	got, info := content(t, u, up.Key)
	if want := objects.SumsOfBytes(objects.CRC32C, body); !bytes.Equal(got, body) || info.Sums != want || !strings.HasSuffix(info.Version, `-3"`) {
		t.Errorf("%d bytes, %+v", len(got), info)
	}
	head, err := u.client.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: u.bucket, Key: aws.String("pre/" + up.Key)})
	if err != nil || aws.ToString(head.ContentType) != contentType {
		t.Errorf("%s, %v", aws.ToString(head.ContentType), err)
	}
	tags, err := u.client.GetObjectTagging(ctx, &sdk.GetObjectTaggingInput{Bucket: u.bucket, Key: aws.String("pre/" + up.Key)})
	if err != nil || len(tags.TagSet) != 1 || aws.ToString(tags.TagSet[0].Value) != "x y" {
		t.Errorf("%+v, %v", tags, err)
	}
	if n := unfinished(t, u); n != 1 {
		t.Errorf("%d unfinished after all", n)
	}
	if err := p.Abort(ctx); err != nil {
		t.Errorf("giving up what is complete: %v", err)
	}
	if err := p.Put(ctx, 0, body[:16<<20], 0); err == nil {
		t.Error("a part of what is complete")
	}
}

func TestPartsWrongDigest(t *testing.T) {
	u, ctx := uploader(t, config(t, servers.S3(t), "")), t.Context()
	body := random(17 << 20)
	for _, u.plain = range []bool{false, true} {
		p := begin(t, u, uploadOf("k", body))
		if err := p.Put(ctx, 0, body[:16<<20], 12345); (err == nil) != u.plain || err != nil && !errors.Is(err, objects.ErrDigest) {
			t.Errorf("another checksum (plain %v): %v", u.plain, err)
		}
		if err := p.Abort(ctx); err != nil {
			t.Error(err)
		}
		if err := p.Put(ctx, 1, body[16<<20:], crc(body[16<<20:])); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after it was given up: %v", err)
		}
	}
	if n := unfinished(t, u); n != 0 {
		t.Errorf("%d unfinished", n)
	}
}

// The key is taken between the begin and the end: nothing is left behind.
func TestPartsTaken(t *testing.T) {
	u, ctx := uploader(t, config(t, servers.S3(t), "")), t.Context()
	body := random(17 << 20)
	for _, state := range []int32{kept, unknown, ignored} {
		p := begin(t, u, uploadOf("k", body))
		if _, err := send(ctx, u, p, body, 2); err != nil {
			t.Fatal(err)
		}
		other := uploadOf("k", []byte("other"))
		other.Replace = true
		if err := u.Put(ctx, other, []byte("other")); err != nil {
			t.Fatal(err)
		}
		u.keeps.Store(state)
		if err := p.Complete(ctx, objects.SumsOfBytes(all, body)); !errors.Is(err, objects.ErrTaken) || pipeline.IsRetryable(err) {
			t.Errorf("state %d: %v", state, err)
		}
		if got, _ := content(t, u, "k"); string(got) != "other" {
			t.Errorf("state %d: it is overwritten", state)
		}
		if n := unfinished(t, u); n != 0 {
			t.Errorf("state %d: %d unfinished", state, n)
		}
	}
	up := uploadOf("k", body)
	up.Replace = true
	p := begin(t, u, up)
	if _, err := send(ctx, u, p, body, 2); err != nil {
		t.Fatal(err)
	}
	if err := p.Complete(ctx, objects.SumsOfBytes(all, body)); err != nil {
		t.Error(err)
	}
	if got, _ := content(t, u, "k"); !bytes.Equal(got, body) {
		t.Error("it is not replaced")
	}
}

// A server that does not know checksums of the whole.
func TestPlainParts(t *testing.T) {
	u, ctx := uploader(t, config(t, servers.S3(t), "")), t.Context()
	u.plain = true
	body := random(33 << 20)
	p := begin(t, u, uploadOf("k", body))
	if _, err := send(ctx, u, p, body, 3); err != nil {
		t.Fatal(err)
	}
	q := p.(*parts)
	q.have[1], q.have[0] = q.have[0], q.have[1] // as if the server had mixed them up
	if q.same(`"00000000000000000000000000000000-3"`) {
		t.Error("another ETag is the same")
	}
	q.have[1], q.have[0] = q.have[0], q.have[1]
	if !q.same(`"something-else"`) {
		t.Error("an ETag of another kind says nothing")
	}
	if err := p.Complete(ctx, objects.SumsOfBytes(all, body)); err != nil {
		t.Fatal(err)
	}
	got, info := content(t, u, "k")
	if !bytes.Equal(got, body) || info.Sums != (objects.Sums{}) {
		t.Errorf("%d bytes, %+v", len(got), info)
	}
	p = begin(t, u, uploadOf("l", body)) // the next run begins anew
	if _, err := send(ctx, u, p, body, 1); err != nil {
		t.Fatal(err)
	}
	if begin(t, u, uploadOf("l", body)).Has(0, 16<<20, crc(body[:16<<20])) || unfinished(t, u) != 1 {
		t.Error("what an earlier run has left is not given up")
	}
}

// A composite upload of ours in algorithm is not adopted: its whole could not be
// verified.
func TestCompositeIsNotAdopted(t *testing.T) {
	u, ctx := uploader(t, config(t, servers.S3(t), "")), t.Context()
	if _, err := u.client.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: u.bucket, Key: aws.String("k"),
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c, ChecksumType: types.ChecksumTypeComposite}); err != nil {
		t.Fatal(err)
	}
	p := begin(t, u, uploadOf("k", random(17<<20)))
	if n := unfinished(t, u); n != 1 || !p.(*parts).full {
		t.Errorf("%d unfinished, full %v", n, p.(*parts).full)
	}
}

// The server is killed and started again in the middle.
func TestRestart(t *testing.T) {
	s := servers.StartS3(t)
	cfg := config(t, s, "")
	u, ctx := uploader(t, cfg), t.Context()
	body := random(33 << 20)
	p := begin(t, u, uploadOf("k", body))
	if _, err := send(ctx, u, p, body, 1); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if _, err := send(ctx, u, p, body, 3); !pipeline.IsRetryable(err) || pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Errorf("the server is down: %v", err)
	}
	if err := u.Put(ctx, uploadOf("s", []byte("1")), []byte("1")); !pipeline.IsRetryable(err) {
		t.Errorf("the server is down: %v", err)
	}
	s.Restart(t)
	if n, err := send(ctx, u, p, body, 3); n != 2 || err != nil {
		t.Errorf("%d parts: %v", n, err)
	}
	if err := p.Complete(ctx, objects.SumsOfBytes(all, body)); err != nil {
		t.Error(err)
	}
	if got, _ := content(t, u, "k"); !bytes.Equal(got, body) {
		t.Error("other bytes")
	}
}
