#!/bin/sh
# The core (container, model, estimate, search, plan) calls nothing with I/O, clock, randomness or state:
# every undefined symbol of its objects is another object's of ours, or stands in the list here.
set -u
build=$1 bad=0
own=$(nm --defined-only "$build"/libkplan.a 2>/dev/null | awk 'NF==3 {print $3}' | sort -u)
pure='^(mem(cpy|move|set|cmp|chr)|str(len|cmp|ncmp|chr|rchr|str|spn|cspn|pbrk|casecmp|ncasecmp|nlen|tol|toul|toll|toull|tod)|v?snprintf|qsort|bsearch|__assert_fail|__stack_chk_fail|__(mem|str|v?snprintf)[a-z]*_chk|__isoc[0-9]+_[a-z]+|__ctype_b_loc|__ctype_tolower_loc|__ctype_toupper_loc|tolower|toupper|isfinite|(l|ll)?(round|floor|ceil|sqrt|pow|exp|log|log2|log10|fmin|fmax|fabs|fmod|cbrt|hypot|trunc|nearbyint|rint|lround|llround)f?|abs|json_[a-z_]+|inflate[A-Za-z0-9_]*|crc32|jsonp_[a-z_]+|_GLOBAL_OFFSET_TABLE_|__(asan|ubsan|sanitizer)_[a-z0-9_]+)$'
for room in container model estimate search plan; do
    for object in "$build"/obj/planner/$room/*.o; do
        [ -e "$object" ] || continue
        alien=$(nm -u "$object" | awk '{print $2}' | grep -vE "$pure" | while read -r s; do
            printf '%s\n' "$own" | grep -qx "$s" || echo "$s"; done)
        [ -z "$alien" ] || { echo "purity: $object calls:" $alien; bad=1; }
        # Tables of pointers lie in .data.rel.ro: the loader writes them once, nobody else.
        data=$(nm -f sysv "$object" | awk -F'|' '$4 ~ /OBJECT/ && $3 !~ /U/ && $7 !~ /\.rodata|\.data\.rel\.ro/ {gsub(/ /, "", $1); print $1}')
        [ -z "$data" ] || { echo "purity: $object has variables:" $data; bad=1; }
    done
done
[ $bad -eq 0 ] && echo "purity: the core calls nothing outside itself"
exit $bad
