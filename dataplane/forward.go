package dataplane

import (
	"cmp"
	"slices"
	"strings"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// The table forward separates unicast from multicast. The sender's host replicates broadcast and multicast (head-end
// replication) to its own ports of the segment and to the other hosts of the segment.

func forwardStatic() []flow.Flow {
	return []flow.Flow{
		drop(tableForward, prioNormal, dropNoMembers, multicast),
		{Table: tableForward, Priority: prioRest, Match: flow.On(flow.IP),
			Actions: append(loadKey(flow.IPDst),
				flow.Resubmit{Table: tableLocate},
				flow.Resubmit{Table: tableSameSubnet},
				flow.Goto{Table: tableRoute},
			)},
		drop(tableForward, prioMiss, dropNoSuchAddress),
	}
}

// forwardFlood takes the multicast of the segment's own endpoints. Multicast is not routed.
func forwardFlood(s view.Segment) flow.Flow {
	return flow.Flow{Table: tableForward, Priority: prioSpecial,
		Match:   flow.On(is(slotVNI, uint32(s.VNI)), is(foundVNI, uint32(s.VNI)), multicast),
		Actions: []flow.Action{flow.ToGroup{ID: floodGroupID(s.VNI)}}}
}

// floodGroupID is in the range of groups that Overlane claims for itself: 0x4c to 0x4f in the top byte.
func floodGroupID(vni model.VNI) uint32 { return 0x4f000000 | uint32(vni) }

// floodGroup has a bucket for every copy. One group serves both directions: a switch sends no packet out of its
// in_port, so a packet from the tunnel does not return to the tunnel, and no sender receives its own packet.
func floodGroup(v *view.View, w Wiring, s view.Segment) (g flow.Group, any bool) {
	g = flow.Group{ID: floodGroupID(s.VNI), Type: flow.GroupAll, Owner: "Subnet " + s.Subnet}
	for _, port := range localPorts(v, w, s.VNI) {
		g.Buckets = append(g.Buckets, flow.Bucket{Actions: []flow.Action{flow.Output{Port: port.number}}})
	}
	for _, host := range s.Members {
		if peer, ok := v.Peers[host]; ok {
			g.Buckets = append(g.Buckets, flow.Bucket{Actions: []flow.Action{
				flow.SetField{Field: flow.TunDst, Value: flow.Addr(peer.VTEP)},
				flow.SetField{Field: flow.TunID, Value: flow.U32(uint32(s.VNI))},
				flow.Output{Port: w.TunnelPort},
			}})
		}
	}
	return g, len(g.Buckets) > 0
}

// localPort is a port of this host, and one of the endpoints behind it.
type localPort struct {
	number        uint32
	via, endpoint string
}

// localPorts lists the ports of a segment, each once. A shared port has the endpoint whose own port it is.
func localPorts(v *view.View, w Wiring, vni model.VNI) []localPort {
	var ports []localPort
	for key, port := range w.Ports {
		if a, ok := v.Addresses[key]; ok && key.VNI == vni && a.Host == v.Host {
			ports = append(ports, localPort{port, a.Via(), a.Endpoint})
		}
	}
	slices.SortFunc(ports, func(x, y localPort) int {
		return cmp.Or(cmp.Compare(x.number, y.number), strings.Compare(x.via, y.via),
			strings.Compare(x.endpoint, y.endpoint))
	})
	return slices.CompactFunc(ports, func(x, y localPort) bool { return x.number == y.number })
}
