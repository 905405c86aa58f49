#!/bin/bash
# toolchain.sh
# ORDINARY USERS DO NOT NEED THIS. With a rustup that can reach its servers, run
#     rustup target add armv7-unknown-linux-gnueabihf aarch64-unknown-linux-gnu
# and build.sh uses the default rustc. This script is for machines that only have a Debian mirror: it unpacks Debian's
# current rustc (package rustc-web), its standard library for x86_64 and aarch64, and the library source (for
# -Zbuild-std on armv7) into a folder. Nothing is installed on the host, no root.
# in : dpkg, apt, a cargo (rustup's or Debian's); the security suite (rustc-web lives there)
# out: WORK/rust/usr/bin/rustc
# time: 19 s cold, <1 s when present. 1.0 GB.
# Why armv7 has no prebuilt std: the armhf index of the security suite cannot be relied on; build-std costs 40 s instead.
. "$(dirname "$0")/lib.sh"
R=$W/rust
if [ ! -x "$R/usr/bin/rustc" ]; then
  rm -rf "$R.part"
  private_apt amd64 security
  # the versioned libraries (libstd-rust-web-X.Y, libllvmN) come from rustc-web's own dependencies
  deps=$("${APTC[@]}" depends --no-recommends --no-suggests rustc-web | sed -n 's/^ *Depends: \(libstd-rust-web-[0-9.]*\|libstd-rust-web-dev\|libllvm[0-9]*\)$/\1/p' | sort -u)
  std=$("${APTC[@]}" depends libstd-rust-web-dev | sed -n 's/^ *Depends: \(libstd-rust-web-[0-9.]*\)$/\1/p')
  llvm=$("${APTC[@]}" depends $std | sed -n 's/^ *Depends: \(libllvm[0-9]*\)$/\1/p')
  pk=$(printf '%s\n' rustc-web rust-web-src patchelf $deps $std $llvm | sort -u); say $pk
  fetch_unpack "$R.part" $pk
  private_apt arm64 security
  fetch_unpack "$R.part" libstd-rust-web-dev
  for b in rustc rustdoc; do   # find libLLVM and libstd inside the folder
    "$R.part/usr/bin/patchelf" --force-rpath --set-rpath '$ORIGIN/../lib/x86_64-linux-gnu' "$R.part/usr/bin/$b"
  done
  mv "$R.part" "$R"
fi
"$R/usr/bin/rustc" -V
for t in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf; do
  d=$("$R/usr/bin/rustc" --print target-libdir --target $t)
  if ls "$d"/libstd-*.rlib >/dev/null 2>&1; then echo "$t: prebuilt std"; else echo "$t: build-std"; fi
done
