#!/bin/sh
# Installs the packages of a list that are missing; needs root or sudo only if something is.
set -eu
missing=
for package in $(sed 's/#.*//' "$1"); do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
echo "installing:$missing"
run=
[ "$(id -u)" -eq 0 ] || run=sudo
$run apt-get update -qq
DEBIAN_FRONTEND=noninteractive $run apt-get install -y -qq --no-install-recommends $missing
