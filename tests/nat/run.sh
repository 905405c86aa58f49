#!/bin/bash
# run.sh [TEST...]
# Runs the tests of this folder in network, mount and process namespaces of their own: whatever they make is gone with them.
# Needs ip, nft, turnserver (coturn), and root or unprivileged user namespaces.
# RTCAM_BIN, RECEIVER_BIN: the programs to test; CHROMIUM: the browser; NAT_DEBUG=1 shows what coturn says, too.
set -euo pipefail
cd "$(dirname "$0")"
export PATH=$PATH:/usr/sbin:/sbin
user=(); [ "$(id -u)" = 0 ] || user=(-r)
[ $# -gt 0 ] || set -- *.test.mjs
# ip netns wants /run/netns to be mountable
exec unshare "${user[@]}" -nmpf --mount-proc --kill-child bash -c 'mount -t tmpfs tmpfs /run && exec node --test --test-reporter=spec --test-concurrency=1 "$@"' tests "$@"
