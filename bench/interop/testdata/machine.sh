#!/bin/bash
# machine.sh DIR BINARY: the first process of a machine in namespaces of its own. It becomes systemd, on a copy of this host's files that is gone with
# it, where the package's files are installed. DIR is to be empty.
set -euo pipefail
if [ -z "${MACHINE_GROUP:-}" ]; then
	MACHINE_GROUP=1 exec unshare --cgroup bash "$0" "$@" # the control group it is in becomes the root of all it sees
fi
packaging=$(dirname "$0")/../../../packaging
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
root=$1/root
mount -t proc proc "$root/proc"
mount -o bind,ro "$root/proc/sys" "$root/proc/sys" # those of the host
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"

# Of what else the host would start there is nothing but the journal.
rm -rf "$root"/etc/systemd/system/* "$root"/{etc,usr/lib,lib}/systemd/system/*.wants
mkdir -p "$root/etc/systemd/system" "$root/etc/sluice" "$root/usr/lib/sysusers.d"
: >"$root/etc/fstab"
printf '[Unit]\nDefaultDependencies=no\nRequires=systemd-journald.socket\n' >"$root/etc/systemd/system/machine.target"
head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$root/etc/machine-id"

install -m 755 "$2" "$root/usr/bin/sluice"
install -m 644 "$packaging/sluice.service" "$root/etc/systemd/system/"
install -m 644 "$packaging/sluice.sysusers" "$root/usr/lib/sysusers.d/sluice.conf"
mkdir "$root/old"
cd "$root"
pivot_root . old
umount -l /old
systemd-sysusers /usr/lib/sysusers.d/sluice.conf
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=machine.target --log-target=console
