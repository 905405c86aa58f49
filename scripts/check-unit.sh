#!/bin/bash
# check-unit.sh
# The sandbox of systemd/rtcam.service must be worth at most 2.0 (0 is best), by systemd's own measure; without
# systemd-analyze (from systemd 250 on) there is nothing to measure and it says so. shellcheck reads the board's and the package's scripts too.
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
if grep -q '^ProcSubset=pid' systemd/rtcam.service; then die "systemd/rtcam.service: ProcSubset=pid hides /proc/device-tree from the encoder library"; fi
if command -v systemd-analyze > /dev/null; then
  systemd-analyze security --no-pager --offline=true --threshold=20 systemd/rtcam.service | tail -1
else
  say "no systemd-analyze: the sandbox was not measured"
fi
if command -v shellcheck > /dev/null; then shellcheck -s sh install.sh systemd/S99rtcam scripts/deb/*
else say "no shellcheck: install.sh, S99rtcam and scripts/deb were not read"; fi
