#!/bin/bash
# Runs all tests with the race detector. A package after another where they share the two cores badly anyway; -p 2 keeps timing sane.
set -eu -o pipefail
cd "$(dirname "$0")/.."
scripts/format.sh
scripts/go vet ./...
mkdir -p bin/race
scripts/go build -race -o bin/race/ ./cmd/overlane ./cmd/overlane-server
OVERLANE_BINARY=$PWD/bin/race/overlane scripts/go test -race -p 2 -timeout 15m ./...
