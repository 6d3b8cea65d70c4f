#!/bin/bash
# Names the files that gofmt would change, and fails if there are any; with "-w" it changes them.
set -eu
cd "$(dirname "$0")/.."
mode=${1:--l}
unformatted=$(find . -name '*.go' -not -path './.cache/*' -print0 | xargs -0 "$(scripts/go env GOROOT)/bin/gofmt" "$mode")
[ -z "$unformatted" ] || {
	echo "not formatted (make fmt does it):" "$unformatted" >&2
	exit 1
}
