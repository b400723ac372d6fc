// Package fstype tells which kind of file system a path lies on, and what that
// means for the files of SQLite.
//
// SQLite keeps writers apart by POSIX locks, and in WAL mode by memory that all
// its users map (https://www.sqlite.org/wal.html: all of them must be on one
// machine; https://www.sqlite.org/lockingv3.html: locks of network file systems
// are often wrong). Neither reaches other machines over a share.
package fstype

import (
	"errors"
	"fmt"
	"strings"

	"outgrow/pipeline"
)

// Magic is the number by which statfs(2) names a kind of file system.
type Magic uint32

// The numbers, of linux/magic.h unless the table names another source.
const (
	NFS       Magic = 0x6969
	SMB       Magic = 0x517b
	CIFS      Magic = 0xff534d42
	SMB2      Magic = 0xfe534d42
	Ceph      Magic = 0x00c36400
	FUSE      Magic = 0x65735546
	Plan9     Magic = 0x01021997
	AFS       Magic = 0x5346414f
	KAFS      Magic = 0x6b414653
	Coda      Magic = 0x73757245
	NCP       Magic = 0x564c
	OCFS2     Magic = 0x7461636f
	GFS2      Magic = 0x01161970
	Lustre    Magic = 0x0bd00bd0
	BeeGFS    Magic = 0x19830326
	GPFS      Magic = 0x47504653
	VBoxSF    Magic = 0x786f4256
	FakeOwner Magic = 0x6a656a63

	Overlay  Magic = 0x794c7630
	Tmpfs    Magic = 0x01021994
	Ramfs    Magic = 0x858458f6
	Ext4     Magic = 0xef53 // and ext2, ext3
	XFS      Magic = 0x58465342
	Btrfs    Magic = 0x9123683e
	ZFS      Magic = 0x2fc12fc1
	F2FS     Magic = 0xf2f52010
	Bcachefs Magic = 0xca451a4e
	ReiserFS Magic = 0x52654973
	JFS      Magic = 0x3153464a
	NTFS3    Magic = 0x7366746e
	ExFAT    Magic = 0x2011bab0
	FAT      Magic = 0x4d44
	Squashfs Magic = 0x73717368
)

// known is what is known of a number.
type known struct {
	name   string
	shared bool // other machines may have the same files open
}

// table gives the names. Sources beside linux/magic.h: fs/vboxsf/super.c,
// fs/jfs/jfs_superblock.h and fs/ntfs3/super.c of Linux, linux/gfs2_ondisk.h,
// ZFS_SUPER_MAGIC of OpenZFS, stat.c of GNU coreutils for Lustre, BeeGFS (fhgfs)
// and GPFS; "fakeowner" is what Docker Desktop's mounts of the host's folders
// are called in the mount table.
func table() map[Magic]known {
	return map[Magic]known{
		NFS: {"NFS", true}, SMB: {"SMB", true}, CIFS: {"CIFS", true}, SMB2: {"SMB2", true}, Ceph: {"CephFS", true}, FUSE: {"FUSE", true},
		Plan9: {"9p", true}, AFS: {"AFS", true}, KAFS: {"AFS", true}, Coda: {"Coda", true}, NCP: {"NCP", true}, OCFS2: {"OCFS2", true},
		GFS2: {"GFS2", true}, Lustre: {"Lustre", true}, BeeGFS: {"BeeGFS", true}, GPFS: {"GPFS", true}, VBoxSF: {"a VirtualBox share", true},
		FakeOwner: {"a Docker Desktop mount", true},
		Overlay:   {"overlay", false}, Tmpfs: {"tmpfs", false}, Ramfs: {"ramfs", false}, Ext4: {"ext4", false}, XFS: {"xfs", false}, Btrfs: {"btrfs", false},
		ZFS: {"zfs", false}, F2FS: {"f2fs", false}, Bcachefs: {"bcachefs", false}, ReiserFS: {"reiserfs", false}, JFS: {"jfs", false}, NTFS3: {"ntfs3", false},
		ExFAT: {"exfat", false}, FAT: {"FAT", false}, Squashfs: {"squashfs", false},
	}
}

// Type is the kind of one file system. The zero value is one that could not be
// told: nothing is held against it.
type Type struct {
	Magic Magic
	// Mount is the type in the mount table where the number is that of many,
	// as FUSE's is: "fuse.sshfs", "fuseblk", "virtiofs"; else "".
	Mount string
}

// String names the type for people: "NFS", "ext4", "FUSE (sshfs)", "unknown".
func (t Type) String() string {
	name := table()[t.Magic].name
	switch {
	case t.Magic == 0:
		return "unknown"
	case name == "":
		return fmt.Sprintf("unknown (0x%x)", uint32(t.Magic))
	case t.Mount == "" || t.Magic != FUSE:
		return name
	}
	if kind, ok := strings.CutPrefix(t.Mount, "fuse."); ok {
		return name + " (" + kind + ")"
	}
	return t.Mount
}

// Known reports whether the type could be told.
func (t Type) Known() bool { return table()[t.Magic].name != "" }

// Network reports whether other machines, or the host of this one, may have the
// same files open: a network or cluster file system, or one of FUSE, which may
// be anything, but for a block device of this machine (fuseblk).
func (t Type) Network() bool {
	return table()[t.Magic].shared && !(t.Magic == FUSE && t.Mount == "fuseblk")
}

// SQLite reports whether the locks and the shared memory of SQLite keep all
// users of a database there apart.
func (t Type) SQLite() bool { return !t.Network() }

// Volatile reports whether the files are gone when the machine is restarted.
func (t Type) Volatile() bool { return t.Magic == Tmpfs || t.Magic == Ramfs }

// Detect finds the type for a path; [Of], or what a test puts in its place.
type Detect func(path string) (Type, error)

// Or gives Of for nil.
func (d Detect) Or() Detect {
	if d == nil {
		return Of
	}
	return d
}

// Network is the reason of findings on what lies on a network file system.
const Network pipeline.Reason = "network-file-system"

// ErrSQLite is the cause of what [TargetSQLite] refuses.
var ErrSQLite = errors.New("SQLite's locks and shared memory do not reach other machines there, and Open WebUI would damage the database or wait for ever")

// TargetSQLite refuses to write a database of SQLite to a path on a file system
// that other machines share, with exit code 2. The database need not be there;
// detect is Of when it is nil.
func TargetSQLite(detect Detect, path string) error {
	t, err := detect.Or()(path)
	op := "choosing the place of the target's database " + path
	if err != nil {
		return pipeline.Environment(op, err, "name a folder that this user may look into")
	}
	if t.SQLite() {
		return nil
	}
	return pipeline.Usage(op, fmt.Errorf("it lies on %s: %w", t, ErrSQLite),
		"name a database on a local disk of the machine that runs Open WebUI, or a PostgreSQL, which several instances can share")
}
