# The other host.
set -eEu
. "$1/machine.sh"
network 2
openvswitch
await ping -c 1 -W 1 192.168.5.2
join 2 "$2"
plug blue3 blue/web 172.17.42.10
echo "host2 is plugged in"
sleep infinity
