#!/bin/bash
# test.sh [PART...] [node arguments...]
# rtcam in QEMU guests against real V4L2 drivers: vivid, and uvcvideo with an emulated USB webcam. Prepares what the named
# parts need (guests, cross builds, tarballs, receiver, a JPEG movie), then runs them one after the other; all by default.
# PART: vivid    aarch64: formats of the camera, and every fault the driver can inject
#       webcam   aarch64: USB webcam, MJPG and YUYV, unplugged and plugged in again
#       armhf    armv7 on a Cortex-A7: multi-planar camera, memory, USB webcam
#       systemd  a Debian for aarch64: install.sh, service, reboot, the page in Chromium, watchdog, upgrade
# For one test: test.sh systemd --test-name-pattern='disk is full' (the tests before it in the file may be needed)
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
. scripts/env.sh
parts=() options=()
for argument; do case $argument in -*) options+=("$argument");; *) parts+=("$argument");; esac; done
[ ${#parts[@]} -gt 0 ] || parts=(vivid webcam armhf systemd)
wants() { [[ " ${parts[*]} " == *" $1 "* ]]; }
F=$W/qemu/files; mkdir -p "$F"

# prepare ARCH TARGET: the bare guest, rtcam and the emulated webcam for it
prepare() {
  local arch=$1 target=$2 TRIPLE MUSL
  target_vars_of "$target"
  "$HERE/sysroot.sh" "$arch"
  "$HERE/initrd.sh" "$arch"
  scripts/cross/build.sh "$target"
  local program=$W/target-$target/$TRIPLE/release/rtcam
  cmp -s "$program" "$F/rtcam-$arch" || cp "$program" "$F/rtcam-$arch"
  # the webcam is plain C without any library; static, so that it runs in the bare guest
  if [ ! "$F/webcam-$arch" -nt tests/qemu/webcam.c ]; then
    "$W/venv/bin/python" -m ziglang cc -target "$MUSL" -O2 -static -s -o "$F/webcam-$arch" tests/qemu/webcam.c
  fi
}
target_vars_of() {
  case $1 in
    aarch64) TRIPLE=aarch64-unknown-linux-gnu MUSL=aarch64-linux-musl;;
    armv7) TRIPLE=armv7-unknown-linux-gnueabihf MUSL=arm-linux-musleabihf;;
  esac
}

# tarball TARGET ARCH AS: what `make dist` makes, of the program that the other parts run; again when a part of it changed
tarball() {
  if [ -s "$F/$3" ] && [ -z "$(find "$F/rtcam-$2" install.sh rtcam.example.toml ./*.md boards systemd scripts Cargo.lock -newer "$F/$3" -print -quit)" ]; then return; fi
  rm -rf "$W/qemu/dist"
  RTCAM_BUILT=$F/rtcam-$2 DIST=$W/qemu/dist scripts/dist.sh "$1"
  mv "$W/qemu/dist/"*.tar.gz "$F/$3"; rm -rf "$W/qemu/dist"
}

# the same tarball, whose program gives its version as one patch level higher
newer_tarball() {
  local tree version next
  if [ "$F/newer.tar.gz" -nt "$F/rtcam.tar.gz" ]; then return; fi
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
  next=${version%.*}.$((${version##*.} + 1))
  tree=$(mktemp -d "$W/newer.XXXXXX")
  tar -xzf "$F/rtcam.tar.gz" -C "$tree"
  LC_ALL=C sed -i "s/rtcam ${version//./\\.}/rtcam $next/g" "$tree"/*/rtcam
  ! cmp -s "$tree"/*/rtcam "$F/rtcam-arm64" || die "the version was not found in the program"
  tar -czf "$F/newer.tar.gz" -C "$tree" "$(ls "$tree")"
  rm -rf "$tree"
}

if wants vivid || wants webcam || wants systemd; then prepare arm64 aarch64; fi
if wants armhf || wants systemd; then prepare armhf armv7; fi
if wants systemd; then
  "$HERE/image.sh" arm64 > /dev/null
  tarball aarch64 arm64 rtcam.tar.gz
  tarball armv7 armhf armv7.tar.gz
  newer_tarball
  [ -d tests/browser/node_modules ] || npm ci --prefix tests/browser --no-audit --no-fund --prefer-offline
fi
cargo build --locked --example receiver
movie=$F/webcam.mjpeg
if [ ! -s "$movie" ]; then
  ffmpeg -nostdin -v error -y -f lavfi -i testsrc2=s=640x480:r=30 -t 2 -pix_fmt yuvj420p -c:v mjpeg -q:v 5 -f mjpeg "$movie.part"
  mv "$movie.part" "$movie"
fi

rm -f artefacts/qemu-*.log
export RTCAM_GUEST_FILES=$F RTCAM_RECEIVER=${CARGO_TARGET_DIR:-target}/debug/examples/receiver
failed=()
for part in "${parts[@]}"; do
  in=(); [ "$part" != systemd ] || in=("$HERE/netns.sh")
  s=$SECONDS
  "${in[@]}" node --test --test-reporter=spec "${options[@]}" "tests/qemu/$part.test.mjs" || failed+=("$part")
  say "qemu $part: $((SECONDS - s)) s"
done
[ ${#failed[@]} = 0 ] || die "failed: ${failed[*]}"
