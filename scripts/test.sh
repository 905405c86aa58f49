#!/bin/bash
# test.sh PART...
# Runs the named parts in order, each with its seconds, and goes on after one that fails: all that is wrong is said at once.
# The last line counts the tests that the test programs themselves reported.
# PART: fmt clippy unit rust browser nat qemu
# out: artefacts/test-PART.log, artefacts/summary.txt
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
[ $# -gt 0 ] || die "usage: test.sh PART..."
scripts/setup.sh test
. scripts/env.sh
A=$ROOT/artefacts; mkdir -p "$A"; rm -f "$A"/test-*.log "$A/summary.txt"

part_fmt() { cargo fmt --check; }
part_clippy() { cargo clippy --locked --all-targets -- -D warnings; }
part_unit() { scripts/check-unit.sh; }
part_rust() {
  scripts/footage.sh
  RTCAM_FOOTAGE=$W/footage RTCAM_REQUIRE_FOOTAGE=1 cargo test --locked --no-fail-fast
}
part_browser() {
  cargo build --locked --bins --example mpp_stub
  npm ci --prefix tests/browser --no-audit --no-fund --prefer-offline
  # one file after the other: the tests measure frame rates, and there may be two cores
  RTCAM_BIN=${CARGO_TARGET_DIR:-$ROOT/target}/debug/rtcam node --test --test-reporter=spec --test-concurrency=1 tests/browser/unit/*.test.mjs tests/browser/*.test.mjs
}
part_nat() {
  cargo build --locked --bin rtcam --example receiver
  npm ci --prefix tests/browser --no-audit --no-fund --prefer-offline
  local built=${CARGO_TARGET_DIR:-$ROOT/target}/debug
  RTCAM_BIN=$built/rtcam RECEIVER_BIN=$built/examples/receiver tests/nat/run.sh
}
part_qemu() { scripts/qemu/test.sh; }

# cargo: "test result: ok. 12 passed; 0 failed; ..."; node: "ℹ pass 12" and "ℹ fail 0"
count() {
  cat "$A"/test-*.log | awk '
    /^test result: / { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i-1); if ($i ~ /^failed/) f += $(i-1) } }
    /^ℹ pass [0-9]+$/ { p += $3 }
    /^ℹ fail [0-9]+$/ { f += $3 }
    END { printf "%d passed, %d failed\n", p, f }'
}

failed=() summary=()
for part; do
  declare -F "part_$part" > /dev/null || die "unknown part $part"
  say "== $part"
  s=$SECONDS
  # not under || or if: bash would switch set -e off inside the part
  set +e; (set -e; "part_$part") 2>&1 | tee "$A/test-$part.log"; rc=${PIPESTATUS[0]}; set -e
  if [ $rc = 0 ]; then summary+=("$(printf '%-8s ok     %4d s' "$part" $((SECONDS-s)))"); continue; fi
  failed+=("$part"); summary+=("$(printf '%-8s FAILED %4d s' "$part" $((SECONDS-s)))")
done
{
  printf '%s\n' "${summary[@]}"
  [ ${#failed[@]} = 0 ] || echo "failed in: ${failed[*]} (artefacts/test-PART.log)"
  echo "total $SECONDS s: $(count)"
} | tee "$A/summary.txt"
[ ${#failed[@]} = 0 ]
