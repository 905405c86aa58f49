# lib.sh - sourced by the scripts of this folder: names of the targets.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
HERE=$ROOT/scripts/cross
# 2.28 = Debian 10 and the toolchains of most camera board SDKs
GLIBC_FLOOR=${GLIBC_FLOOR:-2.28}

# per target: Debian architecture, zig triple, zig -mcpu, CMake processor
target_vars() {
  case $1 in
    armv7-unknown-linux-gnueabihf|armv7|armhf)  TARGET=armv7-unknown-linux-gnueabihf; DEB=armhf; ZIG=arm-linux-gnueabihf; CPU=${CPU:-cortex_a7}; PROC=armv7-a;;
    aarch64-unknown-linux-gnu|aarch64|arm64)    TARGET=aarch64-unknown-linux-gnu;     DEB=arm64; ZIG=aarch64-linux-gnu;   CPU=${CPU:-};          PROC=aarch64;;
    x86_64-unknown-linux-gnu|x86_64|amd64)      TARGET=x86_64-unknown-linux-gnu;      DEB=amd64; ZIG=x86_64-linux-gnu;    CPU=${CPU:-};          PROC=x86_64;;
    *) say "unknown target $1"; exit 2;;
  esac
}
