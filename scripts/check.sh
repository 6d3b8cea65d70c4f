#!/bin/bash
# Formatting, vet and every test that needs no root. Tests that need root say so (internal/roottest): they are left out,
# and counted. Root runs this without its capabilities (capabilities(7)), so a test that needs root and does not say so
# fails.
set -u -o pipefail
cd "$(dirname "$0")/.."
scripts/format.sh || exit 1
scripts/go vet ./... || exit 1

drop=()
if [ "$(id -u)" = 0 ]; then drop=(setpriv --bounding-set=-all --inh-caps=-all); fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export OVERLANE_CHECK=1
"${drop[@]}" scripts/go test -v -timeout 5m ./... >"$log" 2>&1
status=$?
if [ $status != 0 ]; then
	failed=$(awk '$1 == "FAIL" && NF > 1 { print $2 }' "$log" | sort -u)
	[ -n "$failed" ] || { cat "$log"; exit 1; }
	"${drop[@]}" scripts/go test -timeout 5m $failed # once more, without the chatter of those that passed
fi
left=$(grep -c -- '--- SKIP' "$log")
echo "check: $(grep -c '^--- PASS' "$log") tests passed, $(grep -c '^--- FAIL' "$log") failed; $left need root: make test runs them"
exit $status
