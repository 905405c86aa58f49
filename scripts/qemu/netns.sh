#!/bin/bash
# netns.sh COMMAND [ARGUMENT...]
# Runs a command in a network namespace of its own that holds nothing but a loopback and tap0, the wire to a guest: the
# command's programs (QEMU, Chromium, a receiver) are 10.99.0.1, the guest is 10.99.0.2. It goes when the command ends.
# in : iproute2; root, or a system that lets users make namespaces
[ $# -gt 0 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
as=(-n); [ "$(id -u)" = 0 ] || as=(-rn)
export PATH="$PATH:/sbin:/usr/sbin"
# the default route gives Chromium an address of its own to offer
exec unshare "${as[@]}" bash -euo pipefail -c '
  ip link set lo up
  ip tuntap add dev tap0 mode tap
  ip addr add 10.99.0.1/24 dev tap0
  ip link set tap0 up
  ip route add default via 10.99.0.2
  exec "$@"' netns "$@"
