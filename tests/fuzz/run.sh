#!/bin/sh
# Runs fuzz targets one after the other: run.sh SECONDS FUZZER... . Prints a line each: name,
# executions, executions a second. Seeds: tests/fuzz/corpus/NAME where it exists; what is found
# stays in build/fuzz/corpus/NAME. Fails on a crash, a hang or too much memory, and keeps the input.
set -u
seconds=$1 failed=0
shift
for bin in "$@"; do
    name=$(basename "$bin") dir=build/fuzz
    mkdir -p "$dir/corpus/$name" "$dir/found"
    seeds=tests/fuzz/corpus/$name
    [ -d "$seeds" ] || seeds=
    "$bin" "$dir/corpus/$name" $seeds -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 \
        -max_len=65536 -artifact_prefix="$dir/found/$name-" -print_final_stats=1 >"$dir/$name.log" 2>&1
    code=$?
    awk -v name="$name" -v code=$code '
        /^stat::number_of_executed_units/ { n = $2 }
        /^stat::average_exec_per_sec/ { rate = $2 }
        END { printf "%s: %d execs, %d exec/s%s\n", name, n, rate, code ? ", FAILED" : "" }' "$dir/$name.log"
    [ $code -eq 0 ] && continue
    failed=1
    tail -n 60 "$dir/$name.log"
done
[ $# -gt 0 ] || { echo "run.sh: no fuzz target was given"; failed=1; }
exit $failed
