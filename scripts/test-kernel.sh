#!/bin/bash
# The kernel datapath, in small VMs whose kernel has openvswitch.ko: the demonstration, check by check, with two hosts
# in one; and two machines with a wire between them and nothing else.
set -eu -o pipefail
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT
CGO_ENABLED=0 scripts/go build -o bin/kernel ./kernel
# What a guest writes is in its memory, and it sees /run, /tmp and so on of its own.
bin/kernel -timeout 900s -memory 3G bin/overlane demo --act 1 | tee "$out"
grep -qE '^ *host[12] +yes +system ' "$out" || { echo "the hosts were not on the kernel datapath" >&2; exit 1; }
scripts/go test -tags qemu -count=1 -timeout 40m ./kernel
