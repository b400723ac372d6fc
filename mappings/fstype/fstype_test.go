package fstype

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outgrow/pipeline"
)

func TestTypes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of              Type
		name            string
		network, memory bool
		known           bool
	}{
		{of: Type{}, name: "unknown"},
		{of: Type{Magic: 0x1234}, name: "unknown (0x1234)"},
		{of: Type{Magic: NFS}, name: "NFS", network: true, known: true},
		{of: Type{Magic: SMB}, name: "SMB", network: true, known: true},
		{of: Type{Magic: CIFS}, name: "CIFS", network: true, known: true},
		{of: Type{Magic: SMB2}, name: "SMB2", network: true, known: true},
		{of: Type{Magic: Ceph}, name: "CephFS", network: true, known: true},
		{of: Type{Magic: FUSE}, name: "FUSE", network: true, known: true},
		{of: Type{Magic: FUSE, Mount: "fuse"}, name: "fuse", network: true, known: true},
		{of: Type{Magic: FUSE, Mount: "fuse.rclone"}, name: "FUSE (rclone)", network: true, known: true},
		{of: Type{Magic: FUSE, Mount: "virtiofs"}, name: "virtiofs", network: true, known: true},
		{of: Type{Magic: FUSE, Mount: "fuseblk"}, name: "fuseblk", known: true},
		{of: Type{Magic: Plan9}, name: "9p", network: true, known: true},
		{of: Type{Magic: Lustre}, name: "Lustre", network: true, known: true},
		{of: Type{Magic: GFS2}, name: "GFS2", network: true, known: true},
		{of: Type{Magic: FakeOwner}, name: "a Docker Desktop mount", network: true, known: true},
		{of: Type{Magic: Overlay}, name: "overlay", known: true},
		{of: Type{Magic: Tmpfs}, name: "tmpfs", known: true, memory: true},
		{of: Type{Magic: Ext4}, name: "ext4", known: true},
		{of: Type{Magic: XFS}, name: "xfs", known: true},
		{of: Type{Magic: Btrfs}, name: "btrfs", known: true},
		{of: Type{Magic: ZFS}, name: "zfs", known: true},
	} {
		if got := c.of.String(); got != c.name {
			t.Errorf("%+v is called %q, want %q", c.of, got, c.name)
		}
		if c.of.Network() != c.network || c.of.SQLite() == c.network || c.of.Known() != c.known || c.of.Volatile() != c.memory {
			t.Errorf("%s: network %v, SQLite %v, known %v, volatile %v", c.name, c.of.Network(), c.of.SQLite(), c.of.Known(), c.of.Volatile())
		}
	}
}

func TestTargetSQLite(t *testing.T) {
	t.Parallel()
	failed := errors.New("no answer")
	for _, c := range []struct {
		of   Type
		err  error
		exit int
		says string
	}{
		{Type{Magic: NFS}, nil, pipeline.ExitUsage, "on NFS"},
		{Type{Magic: SMB2}, nil, pipeline.ExitUsage, "on SMB2"},
		{Type{Magic: Ceph}, nil, pipeline.ExitUsage, "on CephFS"},
		{Type{Magic: FUSE, Mount: "fuse.sshfs"}, nil, pipeline.ExitUsage, "on FUSE (sshfs)"},
		{Type{Magic: Plan9}, nil, pipeline.ExitUsage, "on 9p"},
		{Type{}, failed, pipeline.ExitEnvironment, "no answer"},
		{Type{Magic: Ext4}, nil, pipeline.ExitOK, ""},
		{Type{Magic: Overlay}, nil, pipeline.ExitOK, ""},
		{Type{}, nil, pipeline.ExitOK, ""},
	} {
		err := TargetSQLite(func(string) (Type, error) { return c.of, c.err }, "/srv/share/webui.db")
		if pipeline.ExitCode(err) != c.exit {
			t.Errorf("%s: %v", c.of, err)
		}
		if err != nil && (!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "/srv/share/webui.db") || pipeline.HintOf(err) == "") {
			t.Errorf("%s: %v; %s", c.of, err, pipeline.HintOf(err))
		}
		if c.exit == pipeline.ExitUsage && !errors.Is(err, ErrSQLite) {
			t.Errorf("%s: %v is not ErrSQLite", c.of, err)
		}
	}
	if err := TargetSQLite(nil, filepath.Join(t.TempDir(), "webui.db")); err != nil {
		t.Errorf("a temporary folder: %v", err)
	}
}

// What is not there yet is judged by the nearest parent that is.
func TestNearest(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	there := filepath.Join(dir, "there")
	if err := os.Mkdir(there, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"good": "there", "nowhere": "there/none/none", "loop": "loop", "far": filepath.Join(there, "none")} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"": dir, "there": there, "none": dir, "none/a/b": dir, "there/none/b": there, "file/below": file,
		"good": filepath.Join(dir, "good"), "good/none": filepath.Join(dir, "good"), "nowhere": there, "far/x": there} {
		if got, err := nearest(filepath.Join(dir, name)); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", name, got, err, want)
		}
	}
	if got, err := nearest(filepath.Join(dir, "loop")); err == nil {
		t.Errorf("a loop of links: %q", got)
	}
	if a, err := Of(there); err != nil {
		t.Error(err)
	} else if b, err := Of(filepath.Join(there, "none")); err != nil || a != b {
		t.Errorf("%v, %v, want %v", b, err, a)
	}
}
