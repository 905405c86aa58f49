#!/bin/bash
# opencv-static.sh TARGET
# Minimal static OpenCV (core + imgproc) and zlib for one target, from the source packages of Debian (OpenCV 4.6 on bookworm).
# TARGET: armv7 | aarch64 | x86_64 (or the full Rust triple)
# in : cmake, ninja, tar, xz; zig.sh runs when it has not
# out: W/opencv/TRIPLE/{include/opencv4,lib/libopencv_core.a,libopencv_imgproc.a,libz.a}
# No codecs, no threads library beyond pthreads, no OpenCL, no CAROTENE: what a logo/text overlay needs.
# time: 235-275 s CPU per board target, 367 s x86_64 (208 s wall with the sources on 2 cores, 330 s busy); <1 s when present
. "$(dirname "$0")/lib.sh"
target_vars "${1:?TARGET}"; short=${TARGET%%-*}; out=$W/opencv/$TARGET b=$W/opencv/build-$short; src=$W/src
[ -e "$out/.complete" ] && exit 0
"$HERE/zig.sh"
mkdir -p "$W/opencv"; exec 9> "$W/opencv/lock"; flock 9   # two builds share the work folder: the second waits for the first
[ -e "$out/.complete" ] && exit 0
say "building OpenCV for $TARGET (once, some minutes)"
mkdir -p "$out/lib" "$b/z" "$src"
# --- sources: --download-only leaves the .orig tarballs, no dpkg-source, no Debian patches needed
if [ ! -d "$src/opencv" ] || [ ! -d "$src/zlib" ]; then
  private_apt amd64 source
  (cd "$src" && "${APT[@]}" source --download-only opencv zlib >&2)
  for p in opencv zlib; do
    mkdir -p "$src/$p.part"; t=$(ls "$src/$p"_*.orig.tar.* | grep -v '\.asc$' | head -1)
    tar -xf "$t" -C "$src/$p.part" --strip-components=1; mv "$src/$p.part" "$src/$p"
  done
  rm -f "$src"/*.tar.* "$src"/*.dsc
fi
CC=$W/bin/zig-$short-cc CXX=$W/bin/zig-$short-c++ AR=$W/bin/zig-ar RANLIB=$W/bin/zig-ranlib
# --- zlib: cv::FileStorage (part of core) needs it; compiled by hand, nothing to configure
cp "$src/zlib/zlib.h" "$b/z/"; if [ -f "$src/zlib/zconf.h" ]; then cp "$src/zlib/zconf.h" "$b/z/"; else cp "$src/zlib/zconf.h.in" "$b/z/zconf.h"; fi
for f in adler32 compress crc32 deflate gzclose gzlib gzread gzwrite inflate infback inftrees inffast trees uncompr zutil; do
  (cd "$b/z" && "$CC" -w -O2 -fPIC -DHAVE_UNISTD_H -DHAVE_STDARG_H -D_LARGEFILE64_SOURCE=1 -I. -I"$src/zlib" -c "$src/zlib/$f.c" -o $f.o)
done
rm -f "$out/lib/libz.a"; (cd "$b/z" && "$AR" rcs "$out/lib/libz.a" ./*.o && "$RANLIB" "$out/lib/libz.a")
# --- OpenCV
# of the variants for newer processors only the one that pays: 12 % less to build (481 against 549 s CPU)
simd=(); case $PROC in arm*) simd=(-DENABLE_NEON=ON -DENABLE_VFPV3=OFF);; x86_64) simd=(-DCPU_DISPATCH=AVX2);; esac
off() { for o; do printf -- '-D%s=OFF\n' "$o"; done; }
# everything rtcam does not call
mapfile -t offs < <(off BUILD_SHARED_LIBS BUILD_ZLIB BUILD_ITT BUILD_TESTS BUILD_PERF_TESTS BUILD_EXAMPLES BUILD_DOCS BUILD_JAVA \
  BUILD_opencv_apps BUILD_opencv_python2 BUILD_opencv_python3 BUILD_opencv_java BUILD_opencv_js CV_TRACE ENABLE_PRECOMPILED_HEADERS \
  OPENCV_ENABLE_ALLOCATOR_STATS WITH_IPP WITH_TBB WITH_OPENMP WITH_OPENCL WITH_LAPACK WITH_EIGEN WITH_ITT WITH_CAROTENE WITH_VA \
  WITH_VA_INTEL WITH_PROTOBUF WITH_QUIRC WITH_ADE WITH_FFMPEG WITH_GSTREAMER WITH_GTK WITH_V4L WITH_1394 WITH_JPEG WITH_PNG WITH_TIFF \
  WITH_WEBP WITH_OPENJPEG WITH_JASPER WITH_OPENEXR WITH_IMGCODEC_HDR)
F="-ffunction-sections -fdata-sections"
cmake -G Ninja -S "$src/opencv" -B "$b/cv" -DCMAKE_TOOLCHAIN_FILE="$W/bin/$short.cmake" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_C_FLAGS="$F" -DCMAKE_CXX_FLAGS="$F" -DCMAKE_C_FLAGS_RELEASE="-O2 -DNDEBUG" -DCMAKE_CXX_FLAGS_RELEASE="-O2 -DNDEBUG" \
  -DCMAKE_INSTALL_PREFIX="$out" -DBUILD_LIST=core,imgproc -DENABLE_PIC=ON -DWITH_PTHREADS_PF=ON \
  -DZLIB_LIBRARY="$out/lib/libz.a" -DZLIB_INCLUDE_DIR="$b/z" "${simd[@]}" "${offs[@]}" > "$b/cmake.log" 2>&1 || { tail -30 "$b/cmake.log" >&2; exit 1; }
s=$SECONDS; ninja -C "$b/cv" -j"${JOBS:-$(nproc)}" install > "$b/ninja.log" 2>&1 || { tail -30 "$b/ninja.log" >&2; exit 1; }
rm -rf "$b"; : > "$out/.complete"
say "OpenCV for $TARGET: $((SECONDS-s)) s"
