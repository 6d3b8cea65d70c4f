#!/bin/bash
# Runs all tests with the race detector: two packages at a time, and four tests of each, since tests of labs wait most of the time.
set -eu -o pipefail
cd "$(dirname "$0")/.."
scripts/format.sh
scripts/go vet ./...
mkdir -p bin/race
scripts/go build -race -o bin/race/ ./cmd/overlane ./cmd/overlane-server
OVERLANE_BINARY=$PWD/bin/race/overlane scripts/go test -race -p 2 -parallel 4 -timeout 15m ./...
