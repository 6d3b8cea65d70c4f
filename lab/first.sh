# The first process of a lab's namespaces. $1 is the lab's folder, $2 the machine's name; without one it is a network.
set -e
lab=$1 name=$2

# Mounts made here stay here; the machine's own unmounts still come through, so that its Docker is not held up.
mount --make-rslave /
mount -t proc proc /proc
ip link set lo up

# Bridged packets are none of a packet filter's business.
for f in /proc/sys/net/bridge/bridge-nf-call-*; do
	if [ -w "$f" ]; then echo 0 >"$f"; fi
done

# A machine has its own /run, /etc and /var/lib: the last two show the real machine's below what it writes. All of it is in memory, since
# the real one's /run may be small, and its root an overlay, which another one cannot lie on. $3 is a folder on a disk, if memory will not do.
if [ -n "$name" ]; then
	hostname "$name"
	disk=$lab/hosts/$name/disk
	if [ -n "$3" ]; then mount --bind "$3" "$disk"; else mount -t tmpfs -o mode=755 tmpfs "$disk"; fi
	mkdir "$disk/etc" "$disk/etc.work" "$disk/lib" "$disk/lib.work" "$disk/docker" "$disk/run"
	mount -t overlay -o "lowerdir=/etc,upperdir=$disk/etc,workdir=$disk/etc.work" overlay /etc
	mount -t overlay -o "lowerdir=/var/lib,upperdir=$disk/lib,workdir=$disk/lib.work" overlay /var/lib
	# Docker's own overlays cannot lie on an overlay.
	mkdir -p /var/lib/docker
	mount --bind "$disk/docker" /var/lib/docker
	# No AppArmor profile of Docker's is loaded into the machine's kernel.
	if [ -d /sys/kernel/security ]; then mount -t tmpfs tmpfs /sys/kernel/security; fi
	mkdir "$disk/run/openvswitch" "$disk/run/lock"
	case $lab in /run/*)
		mkdir -p "$disk/run/${lab#/run/}"
		mount --bind "$lab" "$disk/run/${lab#/run/}"
	esac
	mount --rbind "$disk/run" /run
fi

# From here on the starter must say how to go on. If it dies before, read fails and all of this is gone again.
# SIGCHLD is ignored so that the kernel reaps the orphans that this process inherits.
echo ready
read -r how
case $how in
stay) exec env --ignore-signal=CHLD sleep infinity </dev/null >/dev/null 2>&1 ;;
tied) exec env --ignore-signal=CHLD cat >/dev/null 2>&1 ;;
esac
