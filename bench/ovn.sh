# OVN on the hosts of a lab, as its manuals say; $1 is what is to be done. As with Overlane, the NICs are in bridges, which the userspace datapath needs, and the tunnel's UDP has
# no checksum (ovn-encap-csum): here the CPU would have to make it.
set -e

# quiet keeps the kernel out of what the switch takes copies of.
quiet() {
	ip addr flush dev "$1"
	ip link set "$1" arp off up
	echo 1 >/proc/sys/net/ipv4/conf/"$1"/rp_filter
	[ ! -e /proc/sys/net/ipv6/conf/"$1" ] || echo 1 >/proc/sys/net/ipv6/conf/"$1"/disable_ipv6
	ethtool -K "$1" tx off gro off >/dev/null
}

bridge() { # NAME NIC
	ovs-vsctl add-br "$1" -- set bridge "$1" datapath_type=netdev -- add-port "$1" "$2"
	quiet "$2"
}

database() { # NAME OPTION...
	name=$1
	shift
	ovsdb-tool create "/var/lib/ovn/$name.db" "/usr/share/ovn/ovn-$name.ovsschema"
	ovsdb-server "/var/lib/ovn/$name.db" "--remote=punix:/run/ovn/ovn${name}_db.sock" "$@" \
		"--unixctl=/run/ovn/$name.ctl" "--pidfile=/run/ovn/$name.pid" --detach --no-chdir -vsyslog:off -vconsole:off
}

case $1 in
central)
	mkdir -p /run/ovn /var/lib/ovn
	database nb
	database sb --remote=ptcp:6642
	ovn-northd --pidfile --detach --no-chdir -vsyslog:off -vconsole:off
	;;
chassis) # ADDRESS/LENGTH ROUTER CENTRAL
	bridge br-underlay eth0
	ip addr add "$2" dev br-underlay
	ip link set br-underlay up
	ip route add default via "$3"
	bridge br-ex eth1
	mkdir -p /run/ovn
	ovs-vsctl set open_vswitch . "external-ids:ovn-remote=tcp:$4:6642" external-ids:ovn-encap-type=geneve "external-ids:ovn-encap-ip=${2%/*}" \
		external-ids:ovn-encap-csum=false external-ids:ovn-bridge-datapath-type=netdev external-ids:ovn-bridge-mappings=outside:br-ex
	ovn-controller --pidfile --detach --no-chdir -vsyslog:off -vconsole:off
	;;
network) # the endpoint .2 is translated by gateways, .4 by its own host, .3 shares an address
	for n in 2 3 4 5; do
		set -- "$@" -- lsp-add web "web$n" -- lsp-set-addresses "web$n" "02:00:00:00:01:0$n 10.0.1.$n"
	done
	shift
	ovn-nbctl ls-add web \
		-- lsp-add web web-blue -- lsp-set-type web-blue router -- lsp-set-addresses web-blue router -- lsp-set-options web-blue router-port=blue-web \
		-- ls-add outside \
		-- lsp-add outside uplink -- lsp-set-type uplink localnet -- lsp-set-addresses uplink unknown -- lsp-set-options uplink network_name=outside \
		-- lsp-add outside outside-blue -- lsp-set-type outside-blue router -- lsp-set-addresses outside-blue router \
		-- lsp-set-options outside-blue router-port=blue-outside nat-addresses=router \
		-- lr-add blue \
		-- lrp-add blue blue-web 02:00:00:00:01:01 10.0.1.1/24 \
		-- lrp-add blue blue-outside 02:00:00:00:02:01 203.0.113.10/24 \
		-- lrp-set-gateway-chassis blue-outside gateway1 20 -- lrp-set-gateway-chassis blue-outside gateway2 10 \
		-- lr-route-add blue 0.0.0.0/0 203.0.113.1 \
		"$@" \
		-- lr-nat-add blue dnat_and_snat 203.0.113.102 10.0.1.2 \
		-- lr-nat-add blue dnat_and_snat 203.0.113.104 10.0.1.4 web4 02:00:00:00:02:04 \
		-- lr-nat-add blue snat 203.0.113.10 10.0.1.0/24
	;;
endpoint) # NETNS NUMBER
	ip netns add "$2"
	ip link add "web$3" type veth peer name eth0 address "02:00:00:00:01:0$3" mtu 1442 netns "$2"
	quiet "web$3"
	ip -n "$2" link set eth0 up
	ip -n "$2" addr add "10.0.1.$3/24" dev eth0
	ip -n "$2" route add default via 10.0.1.1
	ip netns exec "$2" ethtool -K eth0 tx off >/dev/null
	ovs-vsctl add-port br-int "web$3" -- set interface "web$3" "external-ids:iface-id=web$3"
	;;
esac
