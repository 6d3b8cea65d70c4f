#!/bin/bash
# Formatting, vet, staticcheck and golangci-lint must pass. The last takes minutes to build the first time: LINT=fast leaves it out, and
# LINT=golangci does nothing else.
set -eu
cd "$(dirname "$0")/.."
if [ "${LINT:-}" != golangci ]; then
	scripts/format.sh
	scripts/go vet ./...
	scripts/go tool -modfile=tools/go.mod staticcheck ./...
fi
[ "${LINT:-}" = fast ] || scripts/go tool -modfile=tools/go.mod golangci-lint run ./...
