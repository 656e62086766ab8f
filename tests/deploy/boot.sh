#!/bin/sh
# A machine with a systemd of its own as process 1: this system's files below a layer in memory that takes what is
# written, the loopback interface, nothing else of the host. Runs in new namespaces of every kind but users.
# Usage: boot.sh FOLDER    an empty folder to mount it on
set -eu
machine=$1

mount --make-rprivate /
mount -t tmpfs tmpfs "$machine"
mkdir "$machine/written" "$machine/work" "$machine/root"
root=$machine/root
mount -t overlay -o "lowerdir=/,upperdir=$machine/written,workdir=$machine/work" overlay "$root"

# The kernel's settings and devices are the host's: systemd sees that it may not change them.
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for folder in run dev tmp etc/systemd/system; do
    mount -t tmpfs tmpfs "$root/$folder"
done
mkdir "$root/dev/shm" "$root/dev/pts" "$root/run/lock"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
for device in full null random tty urandom zero; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done

# Services of the host's packages do not start; those of packages that are installed here do.
rm -f "$root/usr/sbin/policy-rc.d"
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
for unit in multi-user.target tmp.mount; do
    ln -s /dev/null "$root/etc/systemd/system/$unit"
done
printf '[Unit]\nRequires=basic.target\n' >"$root/etc/systemd/system/default.target"

ip link set lo up
cd "$root"
mkdir -p mnt/host
pivot_root . mnt/host
umount -l /mnt/host
echo booting
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --show-status=no
