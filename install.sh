#!/bin/sh
# install.sh [--uninstall [--purge]] [--root DIR] [--no-start]
# Installs rtcam from the folder this script lies in, on systemd or on busybox init; run it again to upgrade.
# Every file is written beside its place and then renamed into it: a power cut leaves the old one or the new one. The config
# is never touched: a missing one is made from rtcam.example.toml. Nothing is changed before everything has been checked.
#   --root DIR    into the tree of an image: nothing is started, no user is made, no architecture is asked of this machine
#   --uninstall   takes everything away but config and links; with --purge those too
#   --no-start    installs only
# env: RTCAM_ARCH (as `uname -m`; for tests and images)
set -eu
FROM=$(cd "$(dirname "$0")" && pwd)
ROOT='' START=yes WHAT=install PURGE=no

say() { echo "rtcam: $*"; }
refuse() { echo "rtcam: $*" >&2; echo "rtcam: nothing was changed" >&2; exit 1; }
usage() { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit "$1"; }

while [ $# -gt 0 ]; do
  case $1 in
    --uninstall) WHAT=uninstall;;
    --purge) PURGE=yes;;
    --no-start) START=no;;
    --root) [ $# -ge 2 ] || usage 2 >&2; shift; ROOT=${1%/}; START=no;;
    --root=*) ROOT=${1#--root=}; ROOT=${ROOT%/}; START=no;;
    -h|--help) usage 0;;
    *) echo "rtcam: unknown option $1" >&2; usage 2 >&2;;
  esac
  shift
done

BIN=$ROOT/usr/local/bin/rtcam
ETC=$ROOT/etc/rtcam
STATE=$ROOT/var/lib/rtcam
DOC=$ROOT/usr/local/share/doc/rtcam
UNIT=$ROOT/etc/systemd/system/rtcam.service
SYSUSERS=$ROOT/usr/lib/sysusers.d/rtcam.conf
TMPFILES=$ROOT/usr/lib/tmpfiles.d/rtcam.conf
RULES=$ROOT/etc/udev/rules.d/60-rtcam.rules
SYSV=$ROOT/etc/init.d/S99rtcam

have() { command -v "$1" > /dev/null 2>&1; }
live() { [ -z "$ROOT" ]; }

init_system() {
  if live; then
    if [ -d /run/systemd/system ]; then echo systemd; elif [ -d /etc/init.d ]; then echo sysv; else echo none; fi
  elif [ -d "$ROOT/lib/systemd/system" ] || [ -d "$ROOT/usr/lib/systemd/system" ]; then echo systemd
  elif [ -d "$ROOT/etc/init.d" ]; then echo sysv
  else echo none; fi
}

# Bytes 5 and 19 of an ELF file: 1 or 2 for 32 or 64 bits, and the machine. Some busybox have no od.
elf_arch() {
  if have od; then bytes=$(dd if="$1" bs=1 skip=4 count=16 2>/dev/null | od -An -v -tu1)
  elif have hexdump; then bytes=$(dd if="$1" bs=1 skip=4 count=16 2>/dev/null | hexdump -v -e '1/1 "%u "')
  else echo unread; return 0; fi
  # shellcheck disable=SC2086 # one word per byte is what is wanted
  set -- $bytes
  case ${1:-}:${15:-} in
    1:40) echo armv7;; 2:183) echo aarch64;; 2:62) echo x86_64;; 1:3) echo x86;; *) echo unknown;;
  esac
}

# Which programs a machine runs. A 64-bit kernel may carry a 32-bit system: its C library decides.
machine_archs() {
  case ${RTCAM_ARCH:-$(uname -m)} in
    armv7*|armv8l) echo armv7;;
    aarch64|arm64)
      if [ -n "${RTCAM_ARCH:-}" ] || [ -e /lib/ld-linux-aarch64.so.1 ] || [ -e /lib64/ld-linux-aarch64.so.1 ]; then echo aarch64; fi
      if [ -e /lib/ld-linux-armhf.so.3 ]; then echo armv7; fi;;
    x86_64|amd64) echo x86_64;;
    *) echo "none";;
  esac
}

check_program() {
  [ -f "$FROM/rtcam" ] || refuse "there is no program rtcam beside install.sh: unpack the whole tarball and run its install.sh"
  ours=$(elf_arch "$FROM/rtcam")
  [ "$ours" != unknown ] || refuse "$FROM/rtcam is no Linux program: the download is damaged, get it again"
  if [ "$ours" != unread ] && { live || [ -n "${RTCAM_ARCH:-}" ]; }; then
    theirs=$(machine_archs)
    [ -n "$theirs" ] || refuse "this machine ($(uname -m)) has no glibc, which rtcam needs"
    case " $(echo "$theirs" | tr '\n' ' ') " in
      *" $ours "*) ;;
      *) refuse "this rtcam is for $ours, and this machine is ${RTCAM_ARCH:-$(uname -m)}: get the tarball for $(echo "$theirs" | head -n 1)";;
    esac
  fi
  if live; then
    [ "$(id -u)" = 0 ] || refuse "installing needs root: run it with sudo"
    chmod +x "$FROM/rtcam" 2>/dev/null || true
    "$FROM/rtcam" --version > /dev/null 2>&1 || refuse "the program does not run here ($("$FROM/rtcam" --version 2>&1 | head -n 1)): it needs glibc 2.28 or newer"
    # the old version goes on running rather than being replaced by one that does not start
    if [ -e "$ETC/rtcam.toml" ] && ! "$FROM/rtcam" check --config "$ETC/rtcam.toml" > /dev/null; then
      refuse "this version does not start with your config: correct the lines named above first"
    fi
  fi
}

# put MODE FROM TO: writes beside the place; `commit` renames all at once. A file that is the same already stays.
PLAN=''
NEWLINE='
'
put() {
  if [ -f "$3" ] && cmp -s "$2" "$3"; then chmod "$1" "$3"; return 0; fi
  PLAN=$PLAN$3$NEWLINE
  if { [ -d "${3%/*}" ] || mkdir -p "${3%/*}"; } && cp "$2" "$3.new.$$" && chmod "$1" "$3.new.$$"; then return 0; fi
  forget
  refuse "cannot write $3: is the disk full or read-only?"
}
each_planned() { printf '%s' "$PLAN" | while IFS= read -r place; do "$1" "$place"; done; }
take_away() { rm -f "$1.new.$$"; }
move() { mv -f "$1.new.$$" "$1"; }
forget() { each_planned take_away; }
commit() { sync; each_planned move; sync; }

make_user() {
  live || return 0
  if have systemd-sysusers; then systemd-sysusers "$SYSUSERS"
  elif ! id rtcam > /dev/null 2>&1; then
    if have useradd; then useradd --system --no-create-home --shell /usr/sbin/nologin rtcam
    elif have adduser; then adduser -S -D -H -s /bin/false rtcam 2>/dev/null || true; fi
    if have usermod; then usermod -aG video rtcam; elif have addgroup; then addgroup rtcam video 2>/dev/null || true; fi
  fi
}

# The config holds a password hash.
guard_config() {
  if live && id rtcam > /dev/null 2>&1 && grep -q '^rtcam:' /etc/group; then chown root:rtcam "$ETC" "$ETC/rtcam.toml"; chmod 750 "$ETC"; chmod 640 "$ETC/rtcam.toml"
  else chmod 755 "$ETC"; chmod 600 "$ETC/rtcam.toml"; fi
}

install() {
  check_program
  init=$(init_system)
  if [ -f "$UNIT" ]; then KNOWN=yes; else KNOWN=no; fi
  put 755 "$FROM/rtcam" "$BIN"
  put 644 "$FROM/rtcam.example.toml" "$ETC/rtcam.example.toml"
  [ -e "$ETC/rtcam.toml" ] || put 600 "$FROM/rtcam.example.toml" "$ETC/rtcam.toml"
  for file in "$FROM"/boards/*.toml; do put 644 "$file" "$DOC/boards/${file##*/}"; done
  for file in "$FROM"/README.md "$FROM"/LICENSE* "$FROM"/THIRD-PARTY.txt; do [ ! -f "$file" ] || put 644 "$file" "$DOC/${file##*/}"; done
  put 755 "$FROM/install.sh" "$DOC/install.sh"
  if [ -d "$ROOT/etc/udev" ] || [ "$init" = systemd ]; then put 644 "$FROM/systemd/60-rtcam.rules" "$RULES"; fi
  case $init in
    systemd)
      put 644 "$FROM/systemd/rtcam.sysusers" "$SYSUSERS"
      put 644 "$FROM/systemd/rtcam.tmpfiles" "$TMPFILES"
      put 644 "$FROM/systemd/rtcam.service" "$UNIT";;
    sysv) put 755 "$FROM/systemd/S99rtcam" "$SYSV";;
    *) say "neither systemd nor /etc/init.d here: start $BIN run yourself";;
  esac
  commit
  if [ "$init" = systemd ]; then make_user; fi
  guard_config
  if live && have udevadm; then
    udevadm control --reload 2>/dev/null || true
    udevadm trigger --subsystem-match=video4linux 2>/dev/null || true
  fi
  begin "$init"
}

begin() {
  if [ "$START" = no ]; then say "installed; not started"; return 0; fi
  case $1 in
    systemd)
      systemctl daemon-reload
      # an upgrade does not switch on what its user has switched off
      if [ "$KNOWN" = no ]; then systemctl enable rtcam.service > /dev/null 2>&1; fi
      if ! systemctl is-enabled --quiet rtcam.service; then
        systemctl try-restart rtcam.service || true
        say "is switched off here and stays so; on again with: systemctl enable --now rtcam"
      elif systemctl restart rtcam.service; then say "runs; see: systemctl status rtcam"
      else say "is installed but did not start; see: journalctl -u rtcam -n 20"; fi;;
    sysv)
      if "$SYSV" restart; then :; else say "is installed but did not start; see the lines above"; fi;;
  esac
  say "what this machine has and lacks: $BIN doctor"
}

uninstall() {
  if live && [ "$(id -u)" != 0 ]; then refuse "uninstalling needs root: run it with sudo"; fi
  if live && [ -x "$SYSV" ]; then "$SYSV" stop || true; fi
  if live && [ -f "$UNIT" ] && have systemctl; then systemctl disable --now rtcam.service > /dev/null 2>&1 || true; fi
  rm -f "$UNIT" "$SYSUSERS" "$TMPFILES" "$RULES" "$SYSV" "$BIN" "$ETC/rtcam.example.toml"
  rm -rf "$DOC"
  if live && have systemctl; then systemctl daemon-reload 2>/dev/null || true; fi
  if [ "$PURGE" = yes ]; then rm -rf "$ETC" "$STATE"; say "uninstalled, config, links and all"
  elif [ -e "$ETC/rtcam.toml" ]; then say "uninstalled; $ETC/rtcam.toml stays (--purge takes it away as well)"
  else say "uninstalled"; fi
}

$WHAT
