package e2e

import (
	"fmt"
	"testing"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/labtest"
)

// uplinkByHand puts a host's eth0 into a bridge of Open vSwitch, which the userspace datapath needs for tunnels. The agent does not do
// that yet: this function and its one call go when it does.
func uplinkByHand(t testing.TB, h *lab.Host) {
	t.Helper()
	labtest.Exec(t, h, "sh", "-ec", fmt.Sprintf(`
ovs-vsctl list-br | grep -q br-ovl-up && exit 0
mac=$(ip -o link show eth0 | sed "s/.*ether \([^ ]*\).*/\1/")
ovs-vsctl add-br br-phy -- set bridge br-phy datapath_type=netdev "other_config:hwaddr=\"$mac\"" -- add-port br-phy eth0
ip addr flush dev eth0
ip addr add %s/24 dev br-phy
ip link set br-phy up
ethtool -K br-phy tx off >/dev/null`, h.Address))
}
