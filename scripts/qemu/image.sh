#!/bin/bash
# image.sh ARCH
# A Debian guest on a disk image, with systemd, udev and a journal: for units, sandboxes, the watchdog and reboots.
# The packages are unpacked, not installed: no script of theirs runs, so this needs no emulator and no root, and takes
# seconds. What those scripts would have made, as far as the guest needs it, is made here. There is no kernel in it.
# ARCH: arm64 | armhf
# in : apt, dpkg-deb, mkfs.ext4 (e2fsprogs)
# out: its path; W/qemu/image-ARCH-KEY.ext4, made anew when this script changes
# time: about 30 s cold, nothing when present
. "$(dirname "$0")/lib.sh"
guest_vars "${1:?ARCH}"
export PATH="$PATH:/sbin:/usr/sbin"
image=$G/image-$ARCH-$(sha256sum "$HERE/image.sh" | cut -c1-12).ext4
if [ -s "$image" ]; then echo "$image"; exit 0; fi

packages=(
  base-files base-passwd systemd systemd-sysv udev kmod libc-bin
  bash dash coreutils dpkg util-linux mount debianutils diffutils findutils grep gzip hostname procps sed tar   # what any Debian has
  busybox-static v4l-utils                                                                                 # what the tests use
)
private_apt "$ARCH" main
files=$(package_files "${packages[@]}")
R=$(mktemp -d "$G/root.XXXXXX"); trap 'rm -rf "$R"' EXIT
umask 022; chmod 755 "$R"

# the merged /usr that the installer makes before it unpacks the first package
mkdir -p "$R"/usr/{bin,sbin,lib}; for d in bin sbin lib; do ln -s "usr/$d" "$R/$d"; done
skip=(); for d in doc man locale info bash-completion zsh; do skip+=(--exclude="./usr/share/$d/*"); done
# dpkg is told of each, so that it knows later what is there for a package to depend on
D=$R/var/lib/dpkg; mkdir -p "$D/info" "$D/updates"
for f in $files; do
  dpkg-deb --fsys-tarfile "$f" | tar -x --keep-directory-symlink --numeric-owner "${skip[@]}" -C "$R"
  { dpkg-deb -f "$f"; printf 'Status: install ok installed\n\n'; } >> "$D/status"
  name=$(dpkg-deb -f "$f" Package); [ "$(dpkg-deb -f "$f" Multi-Arch)" != same ] || name=$name:$ARCH
  dpkg-deb --fsys-tarfile "$f" | tar -t | sed 's,^\.,,; s,/$,,; s,^$,/.,' > "$D/info/$name.list"
done
echo "$ARCH" > "$D/arch"

cp "$R/usr/share/base-passwd/passwd.master" "$R/etc/passwd"
cp "$R/usr/share/base-passwd/group.master" "$R/etc/group"
id=100; for g in systemd-journal input kvm render sgx; do echo "$g:x:$id:" >> "$R/etc/group"; id=$((id + 1)); done
echo rtcam-guest > "$R/etc/hostname"
echo "127.0.0.1 localhost rtcam-guest" > "$R/etc/hosts"
sha256sum "$HERE/image.sh" | cut -c1-32 > "$R/etc/machine-id"
: > "$R/etc/fstab"
mkdir -p "$R/t" "$R/root" "$R/var/log/journal" "$R/usr/lib/modules" "$R/etc/modules-load.d" "$R/etc/modprobe.d"
# the camera that is there at start: one capture node, a webcam
echo vivid > "$R/etc/modules-load.d/camera.conf"
echo "options vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0" > "$R/etc/modprobe.d/camera.conf"

units=$R/etc/systemd/system; mkdir -p "$units/multi-user.target.wants"
ln -s /lib/systemd/system/multi-user.target "$units/default.target"
# nobody logs in here, and the hardware database takes minutes under emulation
for unit in getty.target systemd-logind.service systemd-hwdb-update.service systemd-journal-catalog-update.service; do ln -s /dev/null "$units/$unit"; done
cat > "$units/guest-agent.service" << 'END'
[Unit]
Description=commands of the tests
After=basic.target
[Service]
ExecStart=/bin/busybox sh /t/test.sh
StandardOutput=append:/t/out.log
TimeoutStopSec=3
[Install]
WantedBy=multi-user.target
END
# all devices but these are left alone at start: their hundreds of events take ten seconds under emulation
mkdir -p "$units/systemd-udev-trigger.service.d"
cat > "$units/systemd-udev-trigger.service.d/few.conf" << 'END'
[Service]
ExecStart=
ExecStart=udevadm trigger --action=add --subsystem-match=block --subsystem-match=net --subsystem-match=video4linux
END
ln -s ../guest-agent.service "$units/multi-user.target.wants/guest-agent.service"
touch "$R/etc/.updated" "$R/var/.updated"   # nothing is to be brought up to date at the first boot

# small: the disk-full test fills what is left
size=$(($(du -sm "$R" | cut -f1) + 192))
as=(); [ "$(id -u)" = 0 ] || as=(unshare -r)   # its files belong to root either way
rm -f "$image.part"
"${as[@]}" mkfs.ext4 -q -O ^has_journal -m 0 -L root -d "$R" "$image.part" "${size}M" >&2
rm -f "$G/image-$ARCH-"*.ext4
mv "$image.part" "$image"
say "guest image: $(du -m "$image" | cut -f1) MB of $size MB in $SECONDS s"
echo "$image"
