#!/bin/bash
# release.sh [VERSION]: an archive for each architecture with all programs, the licence and the documents, and their
# checksums, into dist/. The version is that of the newest entry in CHANGELOG.md; of a commit that has no tag of that
# version it says so. The same commit gives the same bytes.
set -eu -o pipefail
cd "$(dirname "$0")/.."
released=$(awk '/^## [0-9]/ { print $2; exit }' CHANGELOG.md)
commit=$(git rev-parse --short=12 HEAD)
version=${1:-$released+$commit}
if [ -z "${1:-}" ] && git tag --points-at HEAD | grep -qx "v$released"; then version=$released; fi
[ -z "$(git status --porcelain)" ] || { echo "release: there are changes that are not committed" >&2; exit 1; }

mkdir -p dist
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/source"
git archive HEAD | tar -x -C "$work/source" # so that what is edited meanwhile is not in it
for arch in amd64 arm64; do
	name=overlane-$version-linux-$arch
	mkdir "$work/$name"
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch scripts/go build -C "$work/source" -trimpath -buildvcs=false -ldflags "-s -w -X github.com/overlane/overlane/cmd/internal/program.version=$version" -o "$work/$name/" ./cmd/...
	(cd "$work/source" && cp -r LICENSE README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md docs examples "$work/$name/")
	tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" -cf - "$name" | gzip -9n >"dist/$name.tar.gz"
	echo "dist/$name.tar.gz: $(ls "$work/$name" | tr '\n' ' ')"
done
cd dist
sha256sum "overlane-$version"-*.tar.gz >"overlane-$version-SHA256SUMS"
cat "overlane-$version-SHA256SUMS"
