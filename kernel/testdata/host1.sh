# Server and host.
set -eEu
. "$1/machine.sh"
network 1
openvswitch
overlane server --listen 192.168.5.2:7443 >/run/server.log 2>&1 &
await overlane get hosts
overlane apply -f "$2"
join 1 "$(overlane token create)"
plug blue1 blue/web 172.17.42.2
plug red1 red/web 172.17.42.2
echo "token $(overlane token create)"

await ping_from blue1 172.17.42.10
ping_from blue1 172.17.42.10 5
if ping_from red1 172.17.42.10; then
	echo "red reaches an address that only blue has" >&2
	exit 1
fi
ping_from blue1 172.17.42.10 100 >/run/ping.log &
overlane capture --endpoint blue/web/blue1 --count 2 --timeout 30s --verbose
await sh -c 'overlane status -o json | grep -q "\"state\": *\"Ready\""'
overlane status
ovs-appctl dpctl/dump-flows
echo "host1 is done"
