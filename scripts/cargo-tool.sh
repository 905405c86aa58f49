#!/bin/bash
# cargo-tool.sh NAME
# Prints the path of a cargo subcommand that is no part of the toolchain; builds it from crates.io when it is missing, once
# per version. Quick to build rather than quick to run: these work for seconds.
# NAME: cargo-deb | cargo-deny | cargo-fuzz
# out : W/tools/NAME-VERSION/bin/NAME
# time: cold 80 s of processor time for cargo-deb, three minutes for cargo-deny, one for cargo-fuzz; nothing when present
. "$(dirname "$0")/lib.sh"
tool=${1:?NAME} options=()
case $tool in
  cargo-deb) version=3.8.0 options=(--no-default-features);;   # without liblzma: the program xz compresses as well
  cargo-deny) version=0.20.2;;
  cargo-fuzz) version=0.13.2;;
  *) die "unknown tool $tool";;
esac
place=$W/tools/$tool-$version
if [ ! -x "$place/bin/$tool" ]; then
  say "building $tool $version"
  # what is set for cross builds is not meant for a program of this machine
  env -u CARGO_TARGET_DIR -u RUSTFLAGS -u RUSTC -u RUSTC_BOOTSTRAP CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
    cargo install --quiet --locked --version "=$version" "${options[@]}" --root "$place" "$tool" >&2
fi
echo "$place/bin/$tool"
