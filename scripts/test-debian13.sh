#!/bin/bash
# The demonstration and all tests on Debian 13, whose Open vSwitch, Docker and nftables are newer than Debian 12's: by hand, and before a
# release. The system is made once by debootstrap, in .cache/debian13, with the mirror that apt has here; remove the folder for a new one.
# It runs in mount and process namespaces of its own, which end with everything in them, however this ends. With arguments, it runs those instead.
set -eu -o pipefail
cd "$(dirname "$0")/.."
root=$PWD/.cache/debian13

# mirror prints where apt gets Debian's packages from.
mirror() {
	apt-get indextargets --format '$(SITE) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null | awk '$2 ~ /\/debian\/?$/ { print $2; exit }' | grep . ||
		echo http://deb.debian.org/debian
}

make_root() {
	local proxy=
	eval "$(apt-config shell proxy Acquire::http::Proxy)"
	echo "debian13: making a Debian 13 in $root"
	rm -rf "$root.new"
	mkdir -p "$root.new"
	http_proxy=${proxy:-${http_proxy:-}} debootstrap --variant=minbase --include=ca-certificates trixie "$root.new" "$(mirror)"
	[ -z "$proxy" ] || echo "Acquire::http::Proxy \"$proxy\";" >"$root.new/etc/apt/apt.conf.d/proxy"
	mv "$root.new" "$root"
}

# shared is what the Debian 13 has of this machine: the checkout and its repository, Go, and what Go has fetched and built.
shared() {
	echo "$PWD"
	realpath "$(git rev-parse --git-common-dir)" 2>/dev/null || true
	scripts/go env GOROOT GOMODCACHE GOCACHE
}

# inside makes the mounts, which only this process and its children see, and becomes the command.
inside() {
	local dir go
	go=$(scripts/go env GOROOT)
	mount --bind "$root" "$root"
	for dir in dev sys; do mount --rbind "/$dir" "$root/$dir"; done
	mount -t proc proc "$root/proc"
	mount -t tmpfs tmpfs "$root/run"
	cat /etc/resolv.conf >"$root/etc/resolv.conf"
	shared | while read -r dir; do
		mkdir -p "$dir" "$root$dir"
		mount --bind "$dir" "$root$dir"
	done
	mkdir -p bin "$root/.old"
	mount -t tmpfs tmpfs "$root$PWD/bin" # what is built there is for there
	cd "$root"
	pivot_root . .old
	umount -l /.old
	cd "$OLDPWD"
	exec env -i HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 PATH="$go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
		GOPROXY="$GOPROXY" GOMODCACHE="$GOMODCACHE" GOCACHE="$GOCACHE" GOFLAGS=-buildvcs=false GOTOOLCHAIN=local "$@"
}

if [ "${1:-}" = --inside ]; then
	shift
	inside "$@"
fi

[ "$(id -u)" = 0 ] || { echo "debian13: needs root" >&2; exit 1; }
[ $# -gt 0 ] || set -- bash -c 'scripts/install-deps.sh test && make demo && make test'
scripts/install-deps.sh debian13
[ -d "$root" ] || make_root
eval "$(scripts/go env GOPROXY GOMODCACHE GOCACHE | { read -r a; read -r b; read -r c; printf 'export GOPROXY=%q GOMODCACHE=%q GOCACHE=%q' "$a" "$b" "$c"; })"
work=$(mktemp -d)
scripts/leftovers.sh >"$work/before"
unshare --mount --propagation private --pid --fork --kill-child=KILL "$0" --inside "$@" &
guest=$!
trap 'kill -KILL $guest 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
status=0
wait $guest || status=$?
scripts/leftovers.sh >"$work/after"
if ! diff "$work/before" "$work/after"; then
	echo "debian13: tests left something behind (< before, > after)" >&2
	status=1
fi
exit $status
