#!/bin/bash
# build.sh TARGET [--examples] [cargo arguments...]
# Builds rtcam for a board: zig as linker and C/C++ compiler, glibc floor 2.28, static OpenCV, libjpeg-turbo and zlib, so that
# the program needs nothing on the board but glibc. Prints size, NEEDED and the newest glibc symbol; fails when either gate is broken.
# TARGET: armv7 | aarch64 | x86_64 (or the Rust triple)
# in : cargo, rustc; what `scripts/setup.sh test` installs. zig.sh and opencv-static.sh run when missing.
# out: W/target-SHORT/TRIPLE/PROFILE/rtcam
# env: PROFILE (release; board = smaller, for shipping), JOBS, CPU_RUST (armv7: cortex-a7), GLIBC_FLOOR
. "$(dirname "$0")/lib.sh"
target_vars "${1:?TARGET}"; shift; short=${TARGET%%-*}; prof=${PROFILE:-release}; what=(--bin rtcam)
if [ "${1:-}" = --examples ]; then what+=(--examples); shift; fi
"$HERE/zig.sh"
"$HERE/opencv-static.sh" "$TARGET"
export PATH="$W/venv/bin:$PATH" CARGO_TARGET_DIR="$W/target-$short"

# std: the compiler's own for TARGET, else rustup's, else Debian's compiler, which brings std or its source (armv7)
std=()
has_std() { ls "$("$1" --print target-libdir --target "$TARGET")"/libstd-*.rlib >/dev/null 2>&1; }
if ! (cd "$ROOT" && has_std rustc); then
  if command -v rustup >/dev/null && (cd "$ROOT" && timeout 120 rustup target add "$TARGET" >&2) && (cd "$ROOT" && has_std rustc); then :
  else
    "$HERE/toolchain.sh" >&2; export RUSTC="$W/rust/usr/bin/rustc"
    if ! has_std "$RUSTC"; then std=(-Zbuild-std=std,panic_abort); export RUSTC_BOOTSTRAP=1; fi
  fi
fi

# OpenCV: no probing, only what opencv-static.sh made. Order matters: imgproc before core before z.
O=$W/opencv/$TARGET
export OPENCV_DISABLE_PROBES=pkg_config,cmake,vcpkg_cmake,vcpkg
export OPENCV_LINK_LIBS=static=opencv_imgproc,static=opencv_core,static=z OPENCV_LINK_PATHS="$O/lib" OPENCV_INCLUDE_PATHS="$O/include/opencv4"
export TURBOJPEG_STATIC=1

# armv7: Rust's target is hard float WITHOUT NEON; every Cortex-A7 board here has it. C/C++ of crates gets the same CPU.
# Thumb-2 code, as Debian's armhf: without it the program is a quarter larger than the 8 MB it may have.
# (Both features print a warning about an unstable feature; it has no effect on the result.)
if [ "$short" = armv7 ]; then
  export RUSTFLAGS="-C target-cpu=${CPU_RUST:-cortex-a7} -C target-feature=+neon,+thumb-mode${RUSTFLAGS:+ $RUSTFLAGS}"
  export CFLAGS_armv7_unknown_linux_gnueabihf="-mcpu=$CPU" CXXFLAGS_armv7_unknown_linux_gnueabihf="-mcpu=$CPU"
fi

# aarch64: the crate for AES-CM uses the processor's AES instructions, where it finds them at run time, only when told so
if [ "$short" = aarch64 ]; then export RUSTFLAGS="--cfg aes_armv8${RUSTFLAGS:+ $RUSTFLAGS}"; fi

s=$SECONDS
cd "$ROOT"; cargo zigbuild --locked -j"${JOBS:-$(nproc)}" --profile "$prof" "${std[@]}" --target "$TARGET.$GLIBC_FLOOR" "${what[@]}" "$@" >&2
say "built in $((SECONDS-s)) s"

[ "$prof" = dev ] && prof=debug
out=$CARGO_TARGET_DIR/$TARGET/$prof; status=0
# libjpeg-turbo falls back to plain C without a word when its SIMD probe fails
case $short in x86_64) simd=_sse2;; *) simd=_neon;; esac
jpeg=$(ls -t "$out"/build/turbojpeg-sys-*/out/lib/libturbojpeg.a | head -1)
n=$(nm "$jpeg" 2>/dev/null | grep -c " T jsimd_.*$simd" || true)
if [ "$n" -ge 10 ]; then say "libjpeg-turbo: $n SIMD functions"; else say "FAIL: libjpeg-turbo was built without SIMD ($jpeg)"; status=1; fi
for f in "$out"/rtcam "$out"/examples/*; do
  case ${f##*/} in *-*|*.d) continue;; esac   # cargo's hashed names of the same files
  [ -x "$f" ] || continue
  needed=$(readelf -W -d "$f" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
  max=$(readelf -W -V "$f" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1)
  echo "$f"
  echo "  size   $(stat -c %s "$f") bytes"
  echo "  NEEDED $(echo $needed)"
  echo "  glibc  ${max:-none}"
  [ "$(printf '%s\n' "GLIBC_$GLIBC_FLOOR" "$max" | sort -V | tail -1)" = "GLIBC_$GLIBC_FLOOR" ] || { say "FAIL: $f needs $max, floor is $GLIBC_FLOOR"; status=1; }
  # self-contained means: only glibc's own libraries
  bad=$(grep -Ev '^(libc|libm|libpthread|libdl|librt|libresolv|libutil|ld-linux[a-z0-9-]*)\.so' <<< "$needed" || true)
  [ -z "$bad" ] || { say "FAIL: $f needs $bad"; status=1; }
done
exit $status
