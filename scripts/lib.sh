# lib.sh - sourced by the scripts of this project (bash).
# Owns: the work folder and a private apt. Must never change the host's own package state.
# Sets W, the work folder: $RTCAM_CACHE, else ${XDG_CACHE_HOME:-$HOME/.cache}/rtcam-build; ROOT, the project folder.
# Offers private_apt: an apt with lists, cache and (empty) dpkg status of its own. It needs no root, changes nothing
# on the host, never fights for the host's locks, and reads foreign architectures without dpkg --add-architecture.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
W=${RTCAM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rtcam-build}
mkdir -p "$W"; W=$(cd "$W" && pwd)
say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# private_apt ARCH KIND -> array APT (apt-get + options) and APTC (apt-cache + options).
# KIND: main      the release suite only (all architectures work there)
#       security  release + security. Only for amd64 and arm64: when the index of ONE architecture fails, apt drops
#                 the whole suite, so an architecture with a broken security index must not be in the list.
#       source    deb-src of the release suite
#       backports release + CODENAME-backports
# Mirror, components and key come from the host's own source list.
private_apt() {
  local arch=$1 kind=$2 d=$W/apt/$1-$2 code list
  mkdir -p "$d"/{lists/partial,cache/archives/partial,parts}; : > "$d/status"
  code=$(. /etc/os-release && echo "$VERSION_CODENAME")
  list=/etc/apt/sources.list.d/debian.sources
  if [ -r "$list" ]; then
    # deb822: drop comments, pick stanzas, rewrite the fields
    sed '/^#/d' "$list" | awk -v RS= -v ORS='\n\n' -v k="$kind" -v c="$code" '
      { sec = ($0 ~ /Suites:[^\n]*-security/) }
      sec && k != "security" { next }
      k == "source" { sub(/Types:[^\n]*/, "Types: deb-src") }
      { print }
      k == "backports" { sub(/Suites:[^\n]*/, "Suites: " c "-backports"); print }' > "$d/parts/debian.sources"
  else
    # one-line format
    grep -E '^deb ' /etc/apt/sources.list | { [ "$kind" = security ] && cat || grep -v -- -security; } \
      | { [ "$kind" = source ] && sed 's/^deb /deb-src /' || cat; } > "$d/parts/debian.list"
    if [ "$kind" = backports ]; then sed -i "/ $code /{p;s/ $code / $code-backports /}" "$d/parts/debian.list"; fi
  fi
  local o=(-o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$d/parts" -o Dir::State::Lists="$d/lists"
    -o Dir::Cache="$d/cache" -o Dir::State::status="$d/status" -o APT::Architecture="$arch" -o APT::Architectures::="$arch"
    -o APT::Install-Recommends=false -o Acquire::Languages=none -o APT::Sandbox::User=root -o Debug::NoLocking=1
    -o Dpkg::Use-Pty=0 -o APT::Get::AllowUnauthenticated=false)
  APT=(apt-get -q "${o[@]}") APTC=(apt-cache "${o[@]}")
  if [ -z "$(find "$d/lists" -maxdepth 1 -name '*_*' -mtime -7 -print -quit)" ]; then "${APT[@]}" -q update >&2; fi
}

# fetch_unpack DIR PKG... : download the named packages only (no dependencies) with APT and unpack them into DIR
fetch_unpack() {
  local dir=$1 t; shift; t=$(mktemp -d "$W/dl.XXXXXX"); mkdir -p "$dir"
  (cd "$t" && "${APT[@]}" download "$@" >&2); for f in "$t"/*.deb; do dpkg -x "$f" "$dir"; done; rm -rf "$t"
}

# python_venv: W/venv, for programs that come from the Python package index
python_venv() { [ -x "$W/venv/bin/pip" ] || python3 -m venv "$W/venv"; }
