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
  # COUNTED=yes: one processor of exactly 500 million instructions a second by the guest's clock, so that processor time
  # in it says something, and a busy host does not change it
  local speed="-accel tcg,thread=multi,tb-size=512 -smp ${SMP:-2}"
  [ -z "${COUNTED:-}" ] || speed="-accel tcg,thread=single,tb-size=512 -icount shift=1 -smp 1"
  QEMU="$QEMU $speed -nodefaults -no-user-config -display none -monitor none -serial stdio"
  mkdir -p "$G"
}
# package_files PKG...: prints the archives of these packages and of all they depend on, downloaded by APT (private_apt first)
package_files() {
  local a
  a=$W/apt/$ARCH-main/cache/archives
  "${APT[@]}" -qq -y --download-only install "$@" > /dev/null
  # only the closure of THIS call, not everything ever cached: the simulation names it
  "${APT[@]}" -qq -s install "$@" | awk '/^Inst/{print $2}' | while read -r p; do ls -t "$a/${p%%:*}"_*.deb | head -1; done
}
# kernel_dir: sets K (unpacked kernel package) and KV (its release); needs initrd.sh to have run once
kernel_dir() { K=$G/kernel-$ARCH; KV=$(ls "$K/lib/modules"); KERNEL=$K/boot/vmlinuz-$KV; }
