#!/bin/bash
# Runs the demonstration, check by check, on the kernel datapath: two hosts in a small VM whose kernel has openvswitch.ko.
set -eu -o pipefail
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT
scripts/vm/run 900 bin/overlane demo | tee "$out"
grep -qE '^ *host[12] +yes +system ' "$out" || { echo "the hosts were not on the kernel datapath" >&2; exit 1; }
