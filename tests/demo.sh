#!/bin/sh
# A cluster on this machine: kpland and four agents that each invent eight H100s, then what a user
# does with it. Everything runs in a temporary folder and is stopped, by pid, at the end.
#   demo.sh BUILD
set -eu
build=$(cd "$1" && pwd)
model=tests/data/models/resnet50.json
dir=$(mktemp -d "${TMPDIR:-/tmp}/kplan-demo.XXXXXX")
pids=
stop() {
    trap - EXIT INT TERM
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    for pid in $pids; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap stop EXIT
trap 'stop; exit 130' INT TERM
PATH=$build:$PATH
KPLAN_SERVER=ipc://$dir/kpland.sock
export KPLAN_SERVER

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n$ %s\n' "$*"; }
run() { say "$@"; "$@"; }

# Starts a program in the background; its messages go to a file.
start() { # log, command...
    log=$dir/$1.log
    shift
    say "$* &"
    "$@" 2>"$log" &
    pids="$pids $!"
}

# Waits at most ten seconds until a command succeeds.
await() { # what, command...
    what=$1 n=0
    shift
    until "$@" >/dev/null 2>&1; do
        n=$((n + 1))
        if [ $n -ge 100 ]; then
            echo "demo: $what did not come up:" >&2
            tail -n 5 "$dir"/*.log >&2
            exit 1
        fi
        sleep 0.1
    done
}
nodes_ready() { [ "$(kplan get nodes | grep -c ' ready ')" -eq "$1" ]; }

start kpland kpland --listen "$KPLAN_SERVER" --store "$dir/kplan.db"
await kpland grep -q ready "$dir/kpland.log"
for i in 0 1 2 3; do
    start "agent$i" kplan-agent --node "node$i" --invent 8xH100-80G
done
await "the agents" nodes_ready 4

run kplan get nodes
say kplan submit $model --nodes 4 --batch 256
line=$(kplan submit $model --nodes 4 --batch 256)
echo "$line"
plan=$(echo "$line" | cut -d ' ' -f 2)
run kplan show "$plan"
run kplan get leases
lease=$(echo "$line" | sed 's/.*lease \([^ ]*\) until.*/\1/')
run kplan lease release "$lease"
echo
echo "demo: all of it worked; stopping kpland and the agents"
