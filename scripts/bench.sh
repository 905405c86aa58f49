#!/bin/bash
# bench.sh
# Measures rtcam on this machine and prints one table: figure, target, measured, met. A missed target is no failure;
# a figure that could not be measured is. Takes about two minutes once everything is built.
# env: STARTS (10 page loads), SECONDS_EACH (10), VIEWERS (32)
# out: artefacts/bench.json
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
scripts/setup.sh bench
. scripts/env.sh
A=$ROOT/artefacts; mkdir -p "$A"; rm -f "$A"/bench.json
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT

cargo build --release --locked
cargo bench --locked --no-run
npm ci --prefix tests/browser --no-audit --no-fund --prefer-offline > /dev/null

say "== stages"
"${CARGO_TARGET_DIR:-target}/release/rtcam" bench --json > "$T/stages.json"
say "== frame path"
# ends with 1 when a picture costs an allocation: that is a target missed
cargo bench --locked --quiet --bench frame_path | tee "$T/frame_path.txt" >&2 || true
say "== viewers"
cargo bench --locked --quiet --bench viewers > "$T/viewers.json"
say "== browser"
RTCAM_BIN=${CARGO_TARGET_DIR:-target}/release/rtcam node scripts/bench/browser.mjs "${STARTS:-10}" "${SECONDS_EACH:-10}" > "$T/browser.json"

node scripts/bench/table.mjs "$T" "$A/bench.json"
