#!/bin/sh
# Runs the test binaries of a build folder: run.sh BUILD [SUITE]. Criterion can be falsely green:
# no test selected, leaks in a child, sanitizer reports; each is looked for here and fails the run.
set -u
build=$1 suite=${2:-} failed=0 ran=0
logs=$build/logs
rm -rf "$logs" && mkdir -p "$logs"
export ASAN_OPTIONS="log_path=$PWD/$logs/san:detect_leaks=1:abort_on_error=0:exitcode=99"
export UBSAN_OPTIONS="log_path=$PWD/$logs/san:print_stacktrace=1"
export KPLAN_BUILD="$build"
for bin in "$build"/test_*; do
    [ -x "$bin" ] && [ -f "$bin" ] || continue
    case $bin in *.d | *.o) continue ;; esac
    out=$logs/$(basename "$bin").out
    "$bin" --jobs "$(nproc)" --timeout 240 ${suite:+--filter "$suite/*"} >"$out" 2>&1
    code=$?
    cat "$out"
    if grep -q 'Tested: .*[1-9]' "$out"; then ran=1; elif [ -z "$suite" ]; then
        echo "run.sh: $bin ran no test"; failed=1
    fi
    [ $code -eq 0 ] || { echo "run.sh: $bin ended with $code"; failed=1; }
done
for san in "$logs"/san*; do
    [ -e "$san" ] && { echo "run.sh: a sanitizer reported:"; head -60 "$san"; failed=1; }
done
[ $ran -eq 1 ] || { echo "run.sh: no test was selected"; failed=1; }
grep -h 'Synthesis' "$logs"/*.out | sed 's/\x1b\[[0-9;]*m//g' | awk '
    { for (i = 1; i <= NF; i++) { if ($i == "Tested:") t += $(i+2) + 0 ? $(i+2) : $(i+1); if ($i == "Passing:") p += $(i+2) + 0 ? $(i+2) : $(i+1);
      if ($i == "Failing:") f += $(i+2) + 0 ? $(i+2) : $(i+1); if ($i == "Crashing:") c += $(i+2) + 0 ? $(i+2) : $(i+1) } }
    END { printf "[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: %d\n", t, p, f, c }'
exit $failed
