#!/bin/bash
# Prints what tests could leave behind: network namespaces, interfaces, mounts, packet filter tables, cgroups, labs, and
# processes of the programs that tests start. Two printouts, before and after, must be equal: leftovers.sh >a; ...;
# leftovers.sh | diff a -
set -u
echo "namespaces:"; ls /run/netns 2>/dev/null
echo "interfaces:"; ls /sys/class/net
echo "mounts:"; cut -d' ' -f1-3 /proc/self/mounts | sort
echo "nft tables:"; PATH=$PATH:/usr/sbin nft list tables 2>/dev/null
echo "cgroups:"; find /sys/fs/cgroup -maxdepth 2 -name 'overlane*' 2>/dev/null
echo "labs:"; ls /run/overlane-lab 2>/dev/null
echo "processes:"
ps -eo pid=,comm=,args= | awk '$2 ~ /^(ovs-vswitchd|ovsdb-server|dockerd|containerd|containerd-shim|overlane.*|etcd|qemu-system.*|tcpdump|tshark|iperf3)$/ { print $2 }' | sort
exit 0
