#!/bin/bash
# bench.sh
# Prints the figures of this machine: the frame path in the process, then what a browser sees of the moving pattern
# (first frame, latency, frame rate), and what rtcam costs with nobody and with one viewer. Judges nothing.
# env: RTCAM_BIN (another binary; nothing is built then), BROWSER_STARTS (5)
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
scripts/setup.sh bench
. scripts/env.sh
bin=${RTCAM_BIN:-}
if [ -z "$bin" ]; then
  cargo build --release --locked; bin=${CARGO_TARGET_DIR:-target}/release/rtcam
  cargo bench --locked
fi
npm ci --prefix tests/browser --no-audit --no-fund --prefer-offline > /dev/null

port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })')
log=$(mktemp)
"$bin" run --set camera.source=pattern --set camera.timecode=true --set "http.listen=127.0.0.1:$port" --set webrtc.udp_port=0 > "$log" 2>&1 & pid=$!
trap 'kill $pid 2>/dev/null || true; rm -f "$log"' EXIT
cpu_ticks() { awk '{ print $14 + $15 }' "/proc/$pid/stat"; }
rss_mb() { awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$pid/status"; }
core_percent() { # SECONDS
  local before; before=$(cpu_ticks); sleep "$1"
  awk -v t=$(($(cpu_ticks) - before)) -v s="$1" -v hz="$(getconf CLK_TCK)" 'BEGIN { printf "%.1f", 100 * t / hz / s }'
}
sleep 2
kill -0 $pid 2>/dev/null || { cat "$log" >&2; die "bench: rtcam did not start"; }
echo "nobody watches: $(core_percent 5) % of a core, $(rss_mb) MB"
( sleep 8; echo "one viewer:     $(core_percent 4) % of a core, $(rss_mb) MB" ) & meter=$!
node tests/browser/latency.mjs --url "http://127.0.0.1:$port/" --seconds 12
wait $meter
echo "first frames:"
node tests/browser/latency.mjs --url "http://127.0.0.1:$port/" --starts "${BROWSER_STARTS:-5}" --seconds 3
