#!/bin/bash
# Runs each fuzzer of the module for the given time, one after the other.
set -eu
cd "$(dirname "$0")/.."
time=${1:-10s}
grep -rlE '^func Fuzz' --include='*_test.go' --exclude-dir=.cache . | while read -r file; do
	for name in $(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*).*/\1/p' "$file"); do
		echo "$(dirname "$file") $name"
		scripts/go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "./$(dirname "$file")" </dev/null
	done
done
