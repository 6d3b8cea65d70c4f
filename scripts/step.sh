#!/bin/bash
# step.sh TEXT COMMAND...: runs a command and prints one line, "TEXT ... 12 s". What the command prints is shown only if
# it fails.
set -u
text=$1
shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT
printf '%s ... ' "$text"
began=$SECONDS
"$@" >"$log" 2>&1
status=$?
if [ $status = 0 ]; then
	echo "$((SECONDS - began)) s"
else
	echo "failed"
	cat "$log" >&2
fi
exit $status
