# What each of two machines does: $1 is its number. They share a wire, and no file that either can write.
export OVS_RUNDIR=/var/run/openvswitch OVERLANE_SERVER=unix:///run/overlane/server.sock
touch /run/{ovsdb,vswitchd,server,agent}.log
tail -q -f /run/*.log &

# await COMMAND...: tries until it succeeds; the test's own limit ends it.
await() { until "$@" >/run/await 2>&1; do sleep 0.3; done; }

network() {
	ip address add "192.168.5.$((1 + $1))/24" dev eth0
	ip link set eth0 up
}

openvswitch() {
	mkdir -p /var/run/openvswitch
	ovsdb-tool create /run/ovs.db /usr/share/openvswitch/vswitch.ovsschema
	ovsdb-server /run/ovs.db --remote=punix:/var/run/openvswitch/db.sock --detach --no-chdir --pidfile --log-file=/run/ovsdb.log
	ovs-vsctl --no-wait init
	ovs-vswitchd unix:/var/run/openvswitch/db.sock --detach --no-chdir --pidfile --log-file=/run/vswitchd.log
}

# join NUMBER TOKEN
join() {
	overlane join 192.168.5.2:7443 "$2" --name "host$1" --address "192.168.5.$((1 + $1))" --no-start
	overlane agent >/run/agent.log 2>&1 &
	await overlane status --here
}

# plug NAME SUBNET ADDRESS
plug() {
	ip netns add "$1"
	overlane attach --netns "$1" --subnet "$2" --ip "$3"
}

ping_from() { ip netns exec "$1" ping -c "${3:-1}" -i 0.2 -W 2 "$2"; }
