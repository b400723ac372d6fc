package fstype

import (
	"testing"

	"golang.org/x/sys/unix"

	"outgrow/testdata/servers"
)

// The numbers are those that the kernel's header has.
func TestMagic(t *testing.T) {
	t.Parallel()
	for m, want := range map[Magic]uint32{
		NFS: unix.NFS_SUPER_MAGIC, SMB: unix.SMB_SUPER_MAGIC, CIFS: unix.CIFS_SUPER_MAGIC, SMB2: unix.SMB2_SUPER_MAGIC, Ceph: unix.CEPH_SUPER_MAGIC,
		FUSE: unix.FUSE_SUPER_MAGIC, Plan9: unix.V9FS_MAGIC, AFS: unix.AFS_SUPER_MAGIC, KAFS: unix.AFS_FS_MAGIC, Coda: unix.CODA_SUPER_MAGIC,
		NCP: unix.NCP_SUPER_MAGIC, OCFS2: unix.OCFS2_SUPER_MAGIC, Overlay: unix.OVERLAYFS_SUPER_MAGIC, Tmpfs: unix.TMPFS_MAGIC, Ramfs: unix.RAMFS_MAGIC,
		Ext4: unix.EXT4_SUPER_MAGIC, XFS: unix.XFS_SUPER_MAGIC, Btrfs: unix.BTRFS_SUPER_MAGIC, F2FS: unix.F2FS_SUPER_MAGIC, Bcachefs: unix.BCACHEFS_SUPER_MAGIC,
		ReiserFS: unix.REISERFS_SUPER_MAGIC, ExFAT: unix.EXFAT_SUPER_MAGIC, FAT: unix.MSDOS_SUPER_MAGIC, Squashfs: unix.SQUASHFS_MAGIC,
	} {
		if uint32(m) != want {
			t.Errorf("%s is 0x%x, the kernel says 0x%x", Type{Magic: m}, uint32(m), want)
		}
	}
}

func TestMountType(t *testing.T) {
	t.Parallel()
	const mounts = `27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
93 27 0:57 / /mnt/a\040b rw,nosuid shared:7 master:3 - fuse.sshfs me@host:/srv rw,user_id=0
94 27 8:17 / /mnt/usb rw - fuseblk /dev/sdb1 rw
95 27 0:58 / /mnt/c rw - virtiofs host rw
broken 0:60
`
	for device, want := range map[string]string{"254:0": "ext4", "0:57": "fuse.sshfs", "8:17": "fuseblk", "0:58": "virtiofs", "0:60": "", "1:1": ""} {
		if got := mountType(mounts, device); got != want {
			t.Errorf("%s is %q, want %q", device, got, want)
		}
	}
}

// What the kernel itself says of two file systems that every machine has.
func TestReal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		servers.Skip(t, "cannot mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if got, err := Of(dir + "/not/there"); err != nil || got != (Type{Magic: Tmpfs}) || !got.Volatile() {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := Of("/proc/self"); err != nil || got.Known() || got.Network() {
		t.Errorf("/proc is %v, %v", got, err)
	}
}
