#!/bin/bash
# Installs what is missing of what Overlane's demonstration (no argument), its tests ("test"), the tests in a small VM
# ("kernel"), the tests on Debian 13 ("debian13") or the comparison with others ("bench") need. It says what before it
# does. What is installed is left as it is. No daemon is started, now or at the next boot.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)

policy=/usr/sbin/policy-rc.d
kept=$policy.kept-by-overlane
mark="# put here by Overlane's install-deps.sh for as long as it runs"

missing=()
# need PACKAGE COMMAND...: the package is missing if a command is. A docker-ce is as good as a docker.io.
need() {
	local package=$1 command
	shift
	for command; do
		if ! PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null; then
			missing+=("$package")
			return
		fi
	done
}

# offered PACKAGE: the distribution has it. A fresh machine has no lists yet to look it up in.
offered() {
	command -v apt-get >/dev/null || return 1
	update_lists
	apt-cache show "$1" >/dev/null 2>&1
}

has_static_busybox() {
	PATH=$root/.cache/busybox/bin:$PATH
	command -v busybox >/dev/null && ! ldd "$(command -v busybox)" >/dev/null 2>&1
}

demo() {
	need openvswitch-switch ovs-vswitchd ovsdb-server ovs-vsctl ovs-ofctl
	# Since Debian 13 docker.io only recommends the package of the command; before, and on Ubuntu, it has the command in
	# it.
	if ! command -v docker >/dev/null && offered docker-cli; then
		need docker.io dockerd
		missing+=(docker-cli)
	else
		need docker.io dockerd docker
	fi
	need iproute2 ip
	need iputils-ping ping
	need procps ps
	# The package conflicts with busybox, which is not ours to remove: then it is only unpacked.
	if ! has_static_busybox && ! dpkg -s busybox >/dev/null 2>&1; then missing+=(busybox-static); fi
	# For the Go toolchain and the modules.
	[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
	need curl curl
	need unzip unzip
	need make make
}

tests() {
	demo
	need tcpdump tcpdump
	need tshark tshark
	need ethtool ethtool
	need iperf3 iperf3
	need isc-dhcp-client dhclient
	need nftables nft
	need iptables iptables-nft iptables-legacy
	need gcc gcc # the race detector
	need git git # the last release, which the test of upgrades builds
	[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
}

kernel() {
	tests
	need qemu-system-x86 qemu-system-x86_64
	[ -x /usr/lib/qemu/virtiofsd ] || [ -x /usr/libexec/virtiofsd ] || ! offered virtiofsd || missing+=(virtiofsd)
	need kmod depmod
}

debian13() {
	need debootstrap debootstrap
	need util-linux unshare pivot_root
}

bench() {
	tests
	need ovn-central ovn-northd
	need ovn-host ovn-controller
}

# hold_daemons keeps packages from starting what they bring (see /usr/share/doc/init-system-helpers). The machine's own
# policy, if it has one, is moved aside as it is, and moved back whatever happens.
hold_daemons() {
	restore_policy # of a run that was killed
	trap restore_policy EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	if [ -e "$policy" ] || [ -L "$policy" ]; then mv "$policy" "$kept"; fi
	printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
	chmod 755 "$policy"
}

restore_policy() {
	if [ -f "$policy" ] && grep -qxF "$mark" "$policy"; then rm -f "$policy"; fi
	if [ -e "$kept" ] || [ -L "$kept" ]; then mv "$kept" "$policy"; fi
}

# A unit that a package has just brought would start at the next boot.
disable_new_units() {
	local package
	command -v systemctl >/dev/null || return 0
	for package in "${missing[@]}"; do
		case $package in
		docker.io) systemctl disable --quiet docker.service docker.socket containerd.service 2>/dev/null || true ;;
		openvswitch-switch) systemctl disable --quiet openvswitch-switch.service ovs-record-hostname.service 2>/dev/null || true ;;
		ovn-central) systemctl disable --quiet ovn-central.service ovn-northd.service ovn-ovsdb-server-nb.service ovn-ovsdb-server-sb.service 2>/dev/null || true ;;
		ovn-host) systemctl disable --quiet ovn-host.service ovn-controller.service 2>/dev/null || true ;;
		esac
	done
}

# Lists older than a day may name files that the mirrors have dropped.
update_lists() {
	if [ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -mtime -1 -print -quit 2>/dev/null)" ]; then
		"$root/scripts/step.sh" "reading the package lists" apt-get update -q
	fi
}

install_packages() {
	if [ "$(id -u)" != 0 ]; then
		echo "installing needs root" >&2
		exit 1
	fi
	command -v apt-get >/dev/null || {
		echo "there is no apt-get here; install these yourself: ${missing[*]}" >&2
		exit 1
	}
	update_lists
	hold_daemons
	"$root/scripts/step.sh" "installing" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -q --no-install-recommends --no-upgrade --no-remove "${missing[@]}"
	disable_new_units
}

unpack_busybox() {
	echo "A dynamic busybox is installed, so busybox-static goes into .cache/busybox beside it"
	update_lists
	mkdir -p "$root/.cache"
	work=$(mktemp -d "$root/.cache/busybox.XXXXXX")
	chmod 755 "$work"
	"$root/scripts/step.sh" "unpacking busybox-static" sh -ec \
		'cd "$1" && apt-get download -q busybox-static && dpkg-deb -x busybox-static_*.deb . && rm busybox-static_*.deb' - "$work"
	if [ ! -d "$work/bin" ]; then ln -s usr/bin "$work/bin"; fi
	mv "$work" "$root/.cache/busybox"
}

case ${1:-demo} in
demo) demo ;;
test) tests ;;
kernel) kernel ;;
debian13) debian13 ;;
bench) bench ;;
*) echo "usage: $0 [demo|test|kernel|debian13|bench]" >&2; exit 2 ;;
esac

if [ ${#missing[@]} -gt 0 ]; then
	echo "Overlane installs these packages, without starting or enabling any daemon: ${missing[*]}"
	install_packages
fi
if ! has_static_busybox; then unpack_busybox; fi
