#!/bin/bash
# test.sh [PART...] [node arguments...]
# rtcam in QEMU guests against real V4L2 drivers: vivid, and uvcvideo with an emulated USB webcam. Prepares what the named
# parts need (guests, cross builds, tarballs, receiver, a JPEG movie), then runs them one after the other; all by default.
# PART: vivid    aarch64: formats of the camera, every fault the driver can inject, its controls set by people of a room
#       webcam   aarch64: USB webcam, MJPG and YUYV, unplugged and plugged in again
#       armhf    armv7 on a Cortex-A7: multi-planar camera, memory, USB webcam
#       systemd  a Debian for aarch64: install.sh, service, reboot, the page in Chromium, watchdog, upgrade
#       package  a Debian for aarch64: the .deb, rtcam doctor, upgrade, remove
# For one test: test.sh systemd --test-name-pattern='disk is full' (the tests before it in the file may be needed)
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
. scripts/env.sh
parts=() options=()
for argument; do case $argument in -*) options+=("$argument");; *) parts+=("$argument");; esac; done
[ ${#parts[@]} -gt 0 ] || parts=(vivid webcam armhf systemd package)
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

# dist TARGET ARCH AS: what `make dist` makes, of the program that the other parts run, as AS.tar.gz and AS.deb; again when a
# part of it changed
dist() {
  if [ -s "$F/$3.deb" ] && [ -z "$(find "$F/rtcam-$2" install.sh rtcam.example.toml ./*.md boards systemd scripts Cargo.* -newer "$F/$3.deb" -print -quit)" ]; then return; fi
  rm -rf "$W/qemu/dist"
  RTCAM_BUILT=$F/rtcam-$2 DIST=$W/qemu/dist scripts/dist.sh "$1"
  mv "$W/qemu/dist/"*.tar.gz "$F/$3.tar.gz"; mv "$W/qemu/dist/"*.deb "$F/$3.deb"; rm -rf "$W/qemu/dist"
}

# the same two, whose program gives its version as one patch level higher; the package has another example config as well
newer() {
  local tree version next
  if [ "$F/newer.deb" -nt "$F/rtcam.deb" ]; then return; fi
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
  next=${version%.*}.$((${version##*.} + 1))
  tree=$(mktemp -d "$W/newer.XXXXXX")
  mkdir "$tree/tar"; tar -xzf "$F/rtcam.tar.gz" -C "$tree/tar"
  dpkg-deb -R "$F/rtcam.deb" "$tree/deb"
  LC_ALL=C sed -i "s/rtcam ${version//./\\.}/rtcam $next/g" "$tree"/tar/*/rtcam
  ! cmp -s "$tree"/tar/*/rtcam "$F/rtcam-arm64" || die "the version was not found in the program"
  tar -czf "$F/newer.tar.gz" -C "$tree/tar" "$(ls "$tree/tar")"
  cp "$tree"/tar/*/rtcam "$tree/deb/usr/bin/rtcam"
  sed -i "s/^Version: .*/Version: $next/" "$tree/deb/DEBIAN/control"
  echo "# newer" >> "$tree/deb/etc/rtcam/rtcam.toml"
  dpkg-deb -Zgzip --root-owner-group --build "$tree/deb" "$F/newer.deb" > /dev/null
  rm -rf "$tree"
}

if wants vivid || wants webcam || wants systemd || wants package; then prepare arm64 aarch64; fi
if wants armhf || wants systemd; then prepare armhf armv7; fi
if wants systemd || wants package; then
  "$HERE/image.sh" arm64 > /dev/null
  dist aarch64 arm64 rtcam
  newer
fi
if wants systemd; then
  dist armv7 armhf armv7
fi
# Chromium's driver for the page, and WebSockets for people without one
if wants systemd || wants vivid; then
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
  in=(); case $part in systemd|package) in=("$HERE/netns.sh");; esac
  s=$SECONDS
  "${in[@]}" node --test --test-reporter=spec "${options[@]}" "tests/qemu/$part.test.mjs" || failed+=("$part")
  say "qemu $part: $((SECONDS - s)) s"
done
[ ${#failed[@]} = 0 ] || die "failed: ${failed[*]}"
