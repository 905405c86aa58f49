#!/bin/bash
# setup.sh [run|test|bench]
# Makes a Debian-like machine that has a Rust toolchain ready to build (run), or to build and prove (test, bench) rtcam.
# Says which system packages are missing and why, then installs them with apt (root or sudo; with neither it prints the command).
# A stamp makes the next start free; it is void as soon as any package of the machine changes.
. "$(dirname "$0")/lib.sh"
kind=${1:-run}
case $kind in run|test|bench) ;; *) die "usage: setup.sh [run|test|bench]";; esac
stamp=$W/setup-$kind status=/var/lib/dpkg/status
if [ "$stamp" -nt "$status" ] && [ "$stamp" -nt "$0" ]; then exit 0; fi

have() { command -v "$1" >/dev/null 2>&1; }
installed() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -q '^installed$'; }
have cargo || die "setup: no cargo: install a Rust toolchain first (https://rustup.rs)"
have dpkg-query || die "setup: not a Debian-like system. Install the equivalents of the packages named in scripts/setup.sh, then: touch $stamp $status"

missing=()
# need PACKAGE TEST WHY: TEST is a command that succeeds when the package, or something as good, is there
need() {
  if eval "$2"; then return; fi
  missing+=("$1"); printf 'setup: missing %-22s %s\n' "$1" "$3" >&2
}
need make                 'have make'                      'runs the targets of the Makefile'
need g++                  'have g++'                       'compiles the C++ of the encoder and links'
need cmake                'have cmake'                     'configures libjpeg-turbo (decodes MJPEG cameras)'
need pkg-config           'have pkg-config'                'finds system libraries'
need clang                'have clang'                     'tells the OpenCV bindings where the system headers are'
need libclang-dev         'installed libclang-dev'         'parses the OpenCV and V4L2 headers'
need libopencv-core-dev   'installed libopencv-core-dev'   'OpenCV: matrices over the frame'
need libopencv-imgproc-dev 'installed libopencv-imgproc-dev' 'OpenCV: scales and draws the overlay'
case $(dpkg --print-architecture) in
  amd64|i386) need nasm   'have nasm'                      'SIMD of the H.264 encoder and of the JPEG decoder: several times faster';;
esac
if [ "$kind" != run ]; then
  need chromium           'have chromium'                  'plays the stream in the browser tests'
  need fonts-dejavu-core  '[ -d /usr/share/fonts/truetype/dejavu ]' 'lets it show text'
  need fonts-droid-fallback 'installed fonts-droid-fallback || [ -n "$(fc-list :lang=zh 2>/dev/null)" ]' 'lets it show Chinese text'
  need nodejs             'have node'                      'drives the browser and the QEMU tests'
  need npm                'have npm'                       'fetches the browser test driver'
  need ffmpeg             'have ffmpeg'                    'makes test clips'
  need python3-venv       'python3 -c "import ensurepip, venv" 2>/dev/null' 'holds the cross compiler'
  need ninja-build        'have ninja'                     'builds the static OpenCV for the boards'
  need xz-utils           'have xz'                        'unpacks its sources, packs the .deb'
  need cpio               'have cpio'                      'packs the initramfs of the test guest'
  need busybox            'have busybox'                   'is the shell of small boards, which install.sh and S99rtcam must get along with'
  need shellcheck         'have shellcheck'                'reads those two'
  need iproute2           '[ -x /sbin/ip ] || have ip'     'makes the network namespaces of the NAT and guest tests'
  need nftables           'have nft || [ -x /usr/sbin/nft ]' 'is the NAT in them'
  need coturn             'have turnserver'                'is the STUN and TURN server in them'
  need curl               'have curl'                      'asks rtcam for its status there'
  need kmod               '[ -x /sbin/depmod ] || have depmod' 'finds the modules of the test guest'
  need qemu-system-arm    'have qemu-system-aarch64'       'runs rtcam against a real V4L2 driver'
  need e2fsprogs          '[ -x /sbin/mkfs.ext4 ] || have mkfs.ext4' 'makes the disk of the test guest with systemd'
fi

root=()
[ "$(id -u)" = 0 ] || root=(sudo)
apt_update() { "${root[@]}" apt-get -qq update < /dev/null >&2; }
# --no-remove: nothing the machine has may go to make room for what the tests want
apt_install() {
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 install -y --no-remove --no-install-recommends "$@" \
    < /dev/null > "$W/setup.log" 2>&1
}
install_or_refresh() {   # stale lists name versions that are gone: refresh and try once more
  apt_install "$@" || { apt_update; apt_install "$@"; } || { tail -20 "$W/setup.log" >&2; die "setup: apt-get install $* failed"; }
}

# When the host's QEMU packages come from backports, the plain qemu-system-arm asks for the older version of their shared
# parts and cannot be installed: then it must come from backports too, which may have to be made known to apt first.
qemu_release() {
  local code arch f
  code=$(. /etc/os-release && echo "$VERSION_CODENAME"); arch=$(dpkg --print-architecture)
  # no pipe: dpkg-query fails when one pattern matches nothing
  case $(dpkg-query -W -f '${db:Status-Status} ${Version}\n' 'qemu-*' 2>/dev/null | grep '^installed') in *bpo*) ;; *) return 0;; esac
  if ! apt-cache policy | grep -q "$code-backports"; then
    private_apt "$arch" backports
    for f in "$W/apt/$arch-backports/parts/"*; do   # only the added part, under a name of its own
      case $f in *.sources) awk -v RS= '/-backports/' "$f";; *) grep -- -backports "$f";; esac > "$W/backports.${f##*.}"
      "${root[@]}" cp "$W/backports.${f##*.}" /etc/apt/sources.list.d/
    done
    apt_update
  fi
  echo "-t $code-backports"
}

if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ] && ! { have sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }; }; then
    die "setup: neither root nor sudo; ask somebody who is to run:  apt-get install --no-install-recommends ${missing[*]}"
  fi
  plain=() qemu=()
  for p in "${missing[@]}"; do case $p in qemu-*) qemu+=("$p");; *) plain+=("$p");; esac; done
  say "setup: installing ${missing[*]}"
  if ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1; then apt_update; fi   # a fresh container has no package lists
  if [ ${#plain[@]} -gt 0 ]; then install_or_refresh "${plain[@]}"; fi
  if [ ${#qemu[@]} -gt 0 ]; then rel=$(qemu_release); install_or_refresh $rel "${qemu[@]}"; fi
fi
# Debian starts coturn as soon as it is installed: the tests want its program, nobody asked for a TURN server
case " ${missing[*]-} " in *' coturn '*) if have systemctl; then "${root[@]}" systemctl disable --now coturn >/dev/null 2>&1 || true; fi;; esac
touch "$stamp"
