#!/bin/bash
# run-systemd.sh ARCH TESTDIR [qemu arguments...]
# Boots the image made by image.sh with its systemd; TESTDIR is /t (read/write), /t/test.sh runs there as root. The guest
# lives until somebody powers it off.
# in : image.sh and initrd.sh ran for ARCH; a network device tap0 (netns.sh): the guest is 10.99.0.2, the host 10.99.0.1
# out: the guest's console on stdout; TESTDIR/out.log (stdout+stderr of test.sh)
# env: TMO (600 s, then the guest is ended), SMP (2), MEM (768 MB), CPU, APPEND (kernel command line)
# The image is opened with snapshot=on: a reboot of the guest keeps what was written, the end of this script forgets it.
# time: until test.sh runs about 10 s, a reboot 15 s (TCG, 2-core x86_64 host)
. "$(dirname "$0")/lib.sh"
guest_vars "${1:?ARCH}"; T=$(cd "${2:?TESTDIR}" && pwd); shift 2; kernel_dir
image=$("$HERE/image.sh" "$ARCH")
exec timeout "${TMO:-600}" $QEMU -m "${MEM:-768}" -kernel "$KERNEL" -initrd "$G/initrd-$ARCH.gz" \
  -append "console=ttyAMA0 rdinit=/init-disk quiet systemd.show_status=0 net.ifnames=0 ${APPEND:-}" \
  -drive "file=$image,format=raw,if=none,id=d,snapshot=on" -device virtio-blk-pci,drive=d -device virtio-rng-pci \
  -netdev tap,id=n,ifname=tap0,script=no,downscript=no -device virtio-net-pci,netdev=n,romfile= \
  -fsdev "local,id=t,path=$T,security_model=none,multidevs=remap" -device virtio-9p-pci,fsdev=t,mount_tag=t "$@" < /dev/null
