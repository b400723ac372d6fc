package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"outgrow/mappings/azure"
	"outgrow/mappings/env"
	"outgrow/mappings/fstype"
	"outgrow/mappings/gcs"
	"outgrow/mappings/objects"
	"outgrow/mappings/s3"
	"outgrow/pipeline"
	gcssink "outgrow/sink/gcs"
	"outgrow/testdata/servers"
)

// mounted says that the folders lie on these file systems, all else on ext4.
func mounted(folders map[string]fstype.Magic) fstype.Detect {
	return func(path string) (fstype.Type, error) {
		for dir, magic := range folders {
			if path == dir || strings.HasPrefix(path, dir+"/") {
				return fstype.Type{Magic: magic}, nil
			}
		}
		return fstype.Type{Magic: fstype.Ext4}, nil
	}
}

func (l *lab) stateDir() string { return strings.TrimSuffix(l.env, ".env") + ".outgrow" }

// plan and report name the file systems, and what is to be known of them.
func TestFileSystemsAreNamed(t *testing.T) {
	t.Parallel()
	l := newLab(t, "", servers.Plain)
	l.set("VECTOR_DB", "")
	flags := []string{"--only", "rows,files"}
	l.fs = mounted(map[string]fstype.Magic{l.share: fstype.NFS, l.stateDir(): fstype.XFS})
	l.plan(flags...).exits(0, "note    file systems: source DATA_DIR ext4, target DATA_DIR NFS, state folder xfs")
	l.migrate(flags...).exits(0, "note  file systems: source DATA_DIR ext4, target DATA_DIR NFS")
	l.equal(flags...)
	var r report
	body, err := os.ReadFile(filepath.Join(l.stateDir(), "report.json"))
	if err == nil {
		err = json.Unmarshal(body, &r)
	}
	if want := (fileSystems{"ext4", "NFS", "xfs"}); err != nil || r.Plan.FileSystems != want || r.Migrate.FileSystems != want {
		t.Errorf("the report says %+v and %+v, %v", r.Plan.FileSystems, r.Migrate.FileSystems, err)
	}

	l.fs = mounted(map[string]fstype.Magic{l.share: fstype.Tmpfs, l.stateDir(): fstype.CIFS})
	l.plan(flags...).exits(0, "warn    the target's DATA_DIR lies in memory (tmpfs)", "note    the state folder "+l.stateDir()+" lies on CIFS", "--state").nextStep()
	l.fs = mounted(map[string]fstype.Magic{l.stateDir(): fstype.Ramfs})
	l.plan(flags...).exits(0, "warn    the state folder "+l.stateDir()+" lies in memory (ramfs)").nextStep()
	// What takes no part is not spoken of.
	l.fs = mounted(map[string]fstype.Magic{l.share: fstype.NFS})
	if out := l.plan("--only", "rows").exits(0, "file systems: source DATA_DIR ext4, state folder ext4").both(); strings.Contains(out, "NFS") {
		t.Errorf("the target's folder is spoken of:\n%s", out)
	}
	failed := errors.New("the share does not answer")
	l.fs = func(path string) (fstype.Type, error) {
		if path == l.share {
			return fstype.Type{}, failed
		}
		return fstype.Type{}, nil
	}
	l.plan(flags...).exits(3, failed.Error()).nextStep()
}

// A source on a network file system is read only while nobody writes: refused
// when it may be in use, with a warning when it is stopped.
func TestSourceOnNetworkFileSystem(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.fs = mounted(map[string]fstype.Magic{l.from: fstype.NFS})
	before := tree(t, l.from)
	l.plan().exits(0, "warn    webui.db lies on a network file system (NFS)", "warn    vector_db lies on a network file system (NFS)", "source DATA_DIR NFS").nextStep()
	l.plan("--only", "files").exits(0, "webui.db lies on a network file system (NFS)")
	for _, command := range pairs {
		l.in(l.pair(command, "--no-stopped")...).exits(3, "network file system (NFS) and may be in use").nextStep()
	}
	unchanged(t, l.from, before)

	// What a running Open WebUI on another machine leaves to be seen.
	shm := filepath.Join(l.from, "webui.db-shm")
	if err := os.WriteFile(shm, make([]byte, 32<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range pairs {
		l.in(l.pair(command)...).exits(3, "may be in use", "say --stopped").nextStep()
	}
	before = tree(t, l.from)
	l.migrate("--stopped").exits(0, "network file system (NFS)")
	l.equal("--stopped")
	unchanged(t, l.from, before)
	l.fs = nil
	l.equal("--stopped")
}

// The vectors alone, with their database elsewhere: nobody can tell whether they
// are in use.
func TestVectorsOnNetworkFileSystem(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.migrate("--only", "rows,files").exits(0)
	old := filepath.Join(l.dir, "old.env")
	if err := os.WriteFile(old, []byte("DATABASE_URL='"+l.dsn+"'\nDATA_DIR='"+l.from+"'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := l.from
	l.from = old
	l.fs = mounted(map[string]fstype.Magic{data: fstype.FUSE})
	l.plan("--only", "vectors").exits(3, "vector_db", "network file system (FUSE)", "--stopped").nextStep()
	l.migrate("--only", "vectors", "--stopped").exits(0, "vector_db lies on a network file system (FUSE)", "674 vectors")
	l.equal("--only", "vectors", "--stopped")
}

// A SQLite database is not written to on a share.
func TestTargetSQLiteOnShare(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "webui.db")
	for magic, exit := range map[fstype.Magic]int{fstype.NFS: pipeline.ExitUsage, fstype.SMB2: pipeline.ExitUsage, fstype.Ceph: pipeline.ExitUsage, fstype.FUSE: pipeline.ExitUsage, fstype.Ext4: 0, fstype.Overlay: 0} {
		of := func(lanes ...string) *opener {
			s := &session{app: &app{fs: mounted(map[string]fstype.Magic{dir: magic})}}
			s.to.Database = env.Database{Kind: env.SQLite, Path: path}
			return &opener{session: s, flags: laneFlags{Only: lanes}}
		}
		if err := of("rows").targetDatabase(); pipeline.ExitCode(err) != exit || exit != 0 && (!errors.Is(err, fstype.ErrSQLite) || pipeline.HintOf(err) == "") {
			t.Errorf("%s: %v", fstype.Type{Magic: magic}, err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		o := of("files")
		if err := o.targetDatabase(); err != nil || (len(o.extra) == 1 && o.extra[0].Severity == pipeline.Warn) != (exit != 0) {
			t.Errorf("%s, rows stay: %+v, %v", fstype.Type{Magic: magic}, o.extra, err)
		}
	}
}

// plan tells of uploads that nobody has finished.
func TestUnfinishedUploadsAreTold(t *testing.T) {
	t.Parallel()
	vars := s3Vars(t)
	l := onPostgres(t, vars)
	if out := l.plan("--only", "files").exits(0).both(); strings.Contains(out, "unfinished upload") {
		t.Errorf("an empty bucket:\n%s", out)
	}
	b, err := s3.Open(t.Context(), l.deployment().Files.S3)
	if err != nil {
		t.Fatal(err)
	}
	bucket := aws.String(vars["S3_BUCKET_NAME"])
	for _, key := range []string{"pre/theirs.bin", "pre/ours.bin", "other/no.bin"} {
		up, err := b.Client().CreateMultipartUpload(t.Context(), &sdk.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String(key)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Client().UploadPart(t.Context(), &sdk.UploadPartInput{Bucket: bucket, Key: aws.String(key), UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader([]byte("half"))}); err != nil {
			t.Fatal(err)
		}
	}
	l.plan("--only", "files").exits(0, "note    2 unfinished uploads in s3://", "billed like objects", "aws s3api list-multipart-uploads --bucket "+*bucket+" --prefix pre/", "AbortIncompleteMultipartUpload")
	n := int64(0)
	for line := range strings.Lines(l.plan("--only", "files", "--json").exits(0).out) {
		var e struct{ Detail pipeline.Finding }
		if json.Unmarshal([]byte(line), &e) == nil && e.Detail.Reason == unfinishedUploads && e.Detail.Severity == pipeline.Note {
			n += e.Detail.Count
		}
	}
	if n != 2 {
		t.Errorf("--json tells of %d", n)
	}
	l.migrate("--only", "files").exits(0)
}

// Azure tells of blocks that wait, by whomever; GCS of nothing, so it is what the
// state remembers, which is forgotten once all is copied.
func TestUnfinishedElsewhere(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, s objectStore) {
		l := toStore(t, s, uploadsData(t, 1, 0))
		d := l.deployment().Files
		switch d.Provider {
		case env.Azure:
			b, err := azure.Open(t.Context(), d.Azure)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"theirs.bin", "ours.bin"} {
				if _, err := b.Blob(key).StageBlock(t.Context(), "b25l", streaming.NopCloser(strings.NewReader("half")), nil); err != nil {
					t.Fatal(err)
				}
			}
		case env.GCS:
			b, err := gcs.Open(t.Context(), d.GCS)
			if err != nil {
				t.Fatal(err)
			}
			up, err := gcssink.NewUploader(b, filepath.Join(l.stateDir(), "files", "uploads"))
			if err != nil {
				t.Fatal(err)
			}
			for _, crc := range []string{"00000001", "00000002"} {
				if _, err := up.Begin(t.Context(), objects.Upload{Key: "ours.bin", Bytes: 1 << 30, Sums: objects.Sums{CRC32C: crc}}); err != nil {
					t.Fatal(err)
				}
			}
		default:
			l.in(l.files("plan")...).exits(0)
			return // told of above
		}
		l.in(l.files("plan")...).exits(0, "note    2 unfinished uploads in ", " a week")
		l.in(l.files("migrate")...).exits(0)
		if out := l.in(l.files("plan")...).exits(0).both(); strings.Contains(out, "unfinished upload") != (d.Provider == env.Azure) {
			t.Errorf("afterwards:\n%s", out)
		}
	})
}
