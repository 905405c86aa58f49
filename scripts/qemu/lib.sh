# lib.sh - sourced by the scripts of this folder: what a guest is made of.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
HERE=$ROOT/scripts/qemu

# guest_vars ARCH: emulator, kernel metapackage, machine. TCG everywhere: no KVM is needed or used.
guest_vars() {
  ARCH=$1 G=$W/qemu
  case $ARCH in
    arm64) QEMU="qemu-system-aarch64 -M virt -cpu ${CPU:-cortex-a53}" META=linux-image-arm64;;
    # highmem=off: the plain armmp kernel has no LPAE and cannot reach the PCIe window above 4 GB
    armhf) QEMU="qemu-system-arm -M virt,highmem=off -cpu ${CPU:-cortex-a7}" META=linux-image-armmp;;
    *) say "unknown guest $ARCH (arm64, armhf)"; exit 2;;
  esac
  QEMU="$QEMU -accel tcg,thread=multi,tb-size=512 -smp ${SMP:-2} -nodefaults -no-user-config -no-reboot -display none -monitor none -serial stdio"
  mkdir -p "$G"
}
# kernel_dir: sets K (unpacked kernel package) and KV (its release); needs initrd.sh to have run once
kernel_dir() { K=$G/kernel-$ARCH; KV=$(ls "$K/lib/modules"); KERNEL=$K/boot/vmlinuz-$KV; }
