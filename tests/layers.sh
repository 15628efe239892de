#!/bin/sh
# Who may include whom: proto < store; proto < container < model < estimate < search < plan < serve < cli;
# proto < agent/inventory, agent/verify < agent. serve and cli may use store's interface: only serve.
set -u
bad=0
allow() { # room, regular expression of what it may include
    for file in "$1"/*.c "$1"/*.h; do
        [ -e "$file" ] || continue
        wrong=$(grep -n '^#include "' "$file" | grep -vE "\"($2)/[a-z0-9_]+\.h\"") || continue
        printf '%s\n' "$wrong" | sed "s|^|layers: $file:|"
        bad=1
    done
}
allow proto 'proto'
allow store 'proto|store'
allow planner/container 'proto|planner/container'
allow planner/model 'proto|planner/(container|model)'
allow planner/estimate 'proto|planner/model|planner/estimate'
allow planner/search 'proto|planner/model|planner/estimate|planner/search'
allow planner/plan 'proto|planner/model|planner/estimate|planner/search|planner/plan'
allow planner/serve 'proto|store|planner/(container|model|estimate|search|plan|serve)'
allow planner/cli 'proto|planner/(container|model|estimate|search|plan|cli)'
allow agent/inventory 'proto|agent/inventory'
allow agent/verify 'proto|agent/verify'
allow agent 'proto|agent|agent/(inventory|verify)'
extra=$(ls -A | grep -vxE 'planner|agent|proto|store|tests|configs|Makefile|README.md|LICENSE|build|\..*')
[ -z "$extra" ] || { echo "layers: not a room of the house: $extra"; bad=1; }
[ $bad -eq 0 ] && echo "layers: includes follow the way of the data"
exit $bad
