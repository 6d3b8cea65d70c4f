# What the article's work_net.sh does for one container, with the commands that it uses; checksum offload goes off because the
# userspace datapath needs that.
set -e
ns=$1 host=$2 ip=$3
ip link add "$host" type veth peer name "p$host"
ip link set "$host" up
ovs-vsctl add-port br-article "$host" tag=100
ip link set "p$host" netns "$ns"
ip -n "$ns" link set "p$host" name eth0
ip -n "$ns" link set eth0 mtu 1450
ip -n "$ns" addr add "$ip/24" dev eth0
ip -n "$ns" link set eth0 up
ip -n "$ns" route add default via 172.17.42.1
ip netns exec "$ns" ethtool -K eth0 tx off >/dev/null
