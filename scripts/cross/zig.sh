#!/bin/bash
# zig.sh
# A C/C++ cross compiler with a chosen glibc floor: zig (from PyPI) in a venv, small wrappers, and a CMake toolchain file per target.
# in : python3 with venv, pip
# out: W/venv (zig, cargo-zigbuild), W/bin/zig-{armv7,aarch64,x86_64}-{cc,c++}, W/bin/zig-{ar,ranlib}, W/bin/{armv7,...}.cmake
# env: GLIBC_FLOOR, ZIG_VERSION, ZIGBUILD_VERSION
# time: 9 s cold, <1 s when present. 440 MB.
. "$(dirname "$0")/lib.sh"
: "${ZIG_VERSION:=0.17.0}" "${ZIGBUILD_VERSION:=0.24.0}"
stamp=$W/bin/.zig-$ZIG_VERSION-$ZIGBUILD_VERSION-$GLIBC_FLOOR-1
[ ! -e "$stamp" ] || exit 0
if [ ! -x "$W/venv/bin/cargo-zigbuild" ]; then
  python_venv
  "$W/venv/bin/pip" -q --disable-pip-version-check install "ziglang==$ZIG_VERSION" "cargo-zigbuild==$ZIGBUILD_VERSION"
fi
zig=$("$W/venv/bin/python" -c 'import ziglang,os;print(os.path.join(os.path.dirname(ziglang.__file__),"zig"))')
mkdir -p "$W/bin"
for t in armv7 aarch64 x86_64; do
  CPU=; target_vars $t
  for l in cc c++; do
    printf '#!/bin/sh\nexec "%s" %s -target %s.%s%s "$@"\n' "$zig" "$l" "$ZIG" "$GLIBC_FLOOR" "${CPU:+ -mcpu=$CPU}" > "$W/bin/zig-$t-$l"
  done
  # CMAKE_FIND_ROOT_PATH points nowhere on purpose: nothing of the host may be found.
  cat > "$W/bin/$t.cmake" <<T
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR $PROC)
set(CMAKE_C_COMPILER "$W/bin/zig-$t-cc")
set(CMAKE_CXX_COMPILER "$W/bin/zig-$t-c++")
set(CMAKE_ASM_COMPILER "$W/bin/zig-$t-cc")
set(CMAKE_AR "$W/bin/zig-ar" CACHE FILEPATH "")
set(CMAKE_RANLIB "$W/bin/zig-ranlib" CACHE FILEPATH "")
set(CMAKE_FIND_ROOT_PATH "$W/none")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
T
done
for l in ar ranlib; do printf '#!/bin/sh\nexec "%s" %s "$@"\n' "$zig" "$l" > "$W/bin/zig-$l"; done
chmod +x "$W"/bin/zig-*
: > "$stamp"
say "zig $("$zig" version), glibc floor $GLIBC_FLOOR, wrappers in $W/bin"
