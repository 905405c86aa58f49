#!/bin/bash
# fuzz.sh [TARGET...]
# Builds the fuzz targets (fuzz/, all of them when none is named) with coverage guidance, by the compiler that builds rtcam,
# and runs one after the other. Ends with a table, and with 1 if any of them crashed, hung or took too much memory.
# What libFuzzer finds new is kept in the work folder, where the next run begins.
# env: TIME      seconds for each target (60)
#      KEEP=yes  afterwards what adds coverage is put into fuzz/corpus/TARGET, in as few files as do
# out: fuzz/artifacts/TARGET/: what made it fail; artefacts/fuzz.txt: the table; artefacts/fuzz-TARGET.log
# time: cold ten minutes of processor time to build, later seconds; then TIME for each target
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
scripts/setup.sh run
. scripts/env.sh
TIME=${TIME:-60}
A=$ROOT/artefacts; mkdir -p "$A"
host=$(rustc -vV | sed -n 's/^host: //p')
built=$W/target-fuzz
if [ $# = 0 ]; then cd fuzz/fuzz_targets; set -- *.rs; set -- "${@%.rs}"; cd "$ROOT"; fi

# a fuzzer of dependencies other than the program's would look at another program
cp Cargo.lock fuzz/Cargo.lock
# no sanitizer: they are the only part that a stable compiler has under lock and key
fuzz=$(scripts/cargo-tool.sh cargo-fuzz)
for target; do
  [ -f "fuzz/fuzz_targets/$target.rs" ] || die "no target $target in fuzz/fuzz_targets"
done
only=(); if [ $# = 1 ]; then only=("$1"); fi
say "== building"
"$fuzz" build --sanitizer none --target-dir "$built" "${only[@]}"

# run TARGET ARG... : the fuzzer itself, with the limits of every run
run() {
  local target=$1; shift
  mkdir -p "fuzz/artifacts/$target"
  nice "$built/$host/release/$target" -artifact_prefix="fuzz/artifacts/$target/" -timeout=10 -rss_limit_mb=1024 -max_len=8192 "$@"
}

failed=0 table=("$(printf '%-10s %12s %8s %7s %8s %6s  %s' target executions per_s edges features inputs result)")
for target; do
  say "== $target, $TIME s"
  found=$W/fuzz/$target log=$A/fuzz-$target.log result=ok
  mkdir -p "$found"
  run "$target" "$found" "fuzz/corpus/$target" -max_total_time="$TIME" -print_final_stats=1 > "$log" 2>&1 || { result=FAILED; failed=1; tail -40 "$log" >&2; }
  if [ "${KEEP:-}" = yes ]; then run "$target" -set_cover_merge=1 -use_counters=0 "fuzz/corpus/$target" "$found" >> "$log" 2>&1; fi
  table+=("$(awk -v t="$target" -v r="$result" '
    / cov: / { for (i = 1; i < NF; i++) { if ($i == "cov:") c = $(i+1); if ($i == "ft:") f = $(i+1); if ($i == "corp:") n = $(i+1) } }
    /^stat::number_of_executed_units/ { e = $2 }
    /^stat::average_exec_per_sec/ { s = $2 }
    END { sub("/.*", "", n); printf "%-10s %12s %8s %7s %8s %6s  %s", t, e, s, c, f, n, r }' "$log")")
done
printf '%s\n' "${table[@]}" | tee "$A/fuzz.txt"
exit $failed
