package servers

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What testdata/README.md says of the people in [DataDir]: every one of them has this password, and the stored
// secrets are encrypted with this WEBUI_SECRET_KEY.
const (
	Password  = "Passw0rd!"
	SecretKey = "lab-secret"
)

// DataDir unpacks the small real data folder of Open WebUI 0.12.4 into a temporary folder of the test and returns
// its path. Modes and modification times are those of the original. webui.db has a live -wal and no -shm.
func DataDir(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := untar(filepath.Join(testdata(tb), "datadir.tar.gz"), dir); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// LegacyDB unpacks a webui.db that a release with peewee migrations made and that was upgraded since to the alembic
// head of 0.12.4, and returns its path.
func LegacyDB(tb testing.TB) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "webui.db")
	if err := gunzip(filepath.Join(testdata(tb), "legacy-peewee.db.gz"), name); err != nil {
		tb.Fatal(err)
	}
	return name
}

// testdata returns the repository's testdata folder. A test runs in the folder of its package.
func testdata(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "testdata")
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			tb.Fatal("no go.mod in or above the working directory")
		}
		dir = parent
	}
}

func gunzip(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		return fmt.Errorf("reading %s: %w", from, err)
	}
	return write(to, 0o644, z)
}

// untar unpacks regular files and folders; anything else in the archive is an error.
func untar(from, dir string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		return fmt.Errorf("reading %s: %w", from, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	folders := map[string]time.Time{}
	for t := tar.NewReader(z); ; {
		head, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", from, err)
		}
		switch head.Typeflag {
		case tar.TypeDir:
			if err := root.MkdirAll(head.Name, head.FileInfo().Mode().Perm()); err != nil {
				return err
			}
			folders[head.Name] = head.ModTime
		case tar.TypeReg:
			if err := root.MkdirAll(filepath.Dir(head.Name), 0o755); err != nil {
				return err
			}
			name := filepath.Join(dir, head.Name)
			if err := write(name, head.FileInfo().Mode().Perm(), t); err != nil {
				return err
			}
			if err := root.Chtimes(head.Name, head.ModTime, head.ModTime); err != nil {
				return err
			}
		default:
			return fmt.Errorf("unpacking %s: %s is neither a file nor a folder", from, head.Name)
		}
	}
	for name, mtime := range folders { // last, because filling a folder changes its time
		if err := root.Chtimes(name, mtime, mtime); err != nil {
			return err
		}
	}
	return nil
}

func write(name string, mode os.FileMode, from io.Reader) (err error) {
	out, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	if _, err := io.Copy(out, from); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return os.Chmod(name, mode) // whatever the umask is
}
