#!/bin/bash
# test.sh [node arguments...]
# rtcam for aarch64 in a QEMU guest against real V4L2 drivers: vivid, and uvcvideo with an emulated USB webcam.
# Prepares what the tests in tests/qemu need (guest, cross build, receiver for this machine, a JPEG movie), then runs them.
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
. scripts/env.sh
"$HERE/sysroot.sh" arm64
"$HERE/initrd.sh" arm64
scripts/cross/build.sh aarch64
cargo build --locked --example receiver

# the emulated webcam is plain C without any library; static, so that it runs in the bare guest
G=$W/qemu; webcam=$G/webcam-arm64
if [ ! "$webcam" -nt tests/qemu/webcam.c ]; then
  "$W/venv/bin/python" -m ziglang cc -target aarch64-linux-musl -O2 -static -s -o "$webcam" tests/qemu/webcam.c
fi
movie=$G/webcam.mjpeg
if [ ! -s "$movie" ]; then
  ffmpeg -nostdin -v error -y -f lavfi -i testsrc2=s=640x480:r=30 -t 2 -pix_fmt yuvj420p -c:v mjpeg -q:v 5 -f mjpeg "$movie.part"
  mv "$movie.part" "$movie"
fi

RTCAM_GUEST_BIN=$W/target-aarch64/aarch64-unknown-linux-gnu/release/rtcam RTCAM_GUEST_WEBCAM=$webcam RTCAM_GUEST_MOVIE=$movie \
  RTCAM_RECEIVER=${CARGO_TARGET_DIR:-target}/debug/examples/receiver \
  node --test --test-reporter=spec --test-concurrency=1 "$@" tests/qemu/*.test.mjs
