# The first process of a lab's namespaces. $1 is the lab's folder, $2 the host's name; without one it is the underlay.
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

# A host has its own /run, /etc and /var/lib: the last two show the machine's below what the host writes.
if [ -n "$name" ]; then
	own=$lab/hosts/$name
	hostname "$name"
	mount -t overlay -o "lowerdir=/etc,upperdir=$own/etc,workdir=$own/etc.work" overlay /etc
	mount -t overlay -o "lowerdir=/var/lib,upperdir=$own/lib,workdir=$own/lib.work" overlay /var/lib
	# Docker's own overlays cannot lie on an overlay.
	mkdir -p /var/lib/docker
	mount --bind "$own/docker" /var/lib/docker
	# No AppArmor profile of Docker's is loaded into the machine's kernel.
	if [ -d /sys/kernel/security ]; then mount -t tmpfs tmpfs /sys/kernel/security; fi
	case $lab in /run/*)
		mkdir -p "$own/run/${lab#/run/}"
		mount --bind "$lab" "$own/run/${lab#/run/}"
	esac
	mount --rbind "$own/run" /run
fi

# From here on the starter must say how to go on. If it dies before, read fails and all of this is gone again.
# SIGCHLD is ignored so that the kernel reaps the orphans that this process inherits.
echo ready
read -r how
case $how in
stay) exec env --ignore-signal=CHLD sleep infinity </dev/null >/dev/null 2>&1 ;;
tied) exec env --ignore-signal=CHLD cat >/dev/null 2>&1 ;;
esac
