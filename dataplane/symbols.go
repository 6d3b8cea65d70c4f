package dataplane

import (
	"strings"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
)

// Symbols are the names of the numbers in flows: tables, slots, groups, meters and userdata. A group is named after its
// kind and its owner.
func Symbols(groups []flow.Group) flow.Symbols {
	s := flow.Symbols{Tables: Names(), Groups: map[uint32]string{}, Meters: meterNames, Userdata: userdataNames}
	for _, slot := range Slots {
		s.Slots = append(s.Slots, flow.Bits{Name: slot.Name, Field: slot.Field, First: slot.First, Width: slot.Width,
			Form: slot.Form, Values: slot.Values})
	}
	s.Slots = append(s.Slots, flow.Bits{Name: "tun_id", Field: flow.TunID, Width: flow.TunID.Bits})
	for _, g := range groups {
		_, owner, _ := strings.Cut(g.Owner, " ")
		s.Groups[g.ID] = groupKind(g.ID) + "(" + owner + ")"
	}
	return s
}

// groupKind is the purpose of a group, by its ID.
func groupKind(id uint32) string {
	vni, odd := id&(1<<24-1), id&1 == 1
	switch top := id >> 24; {
	case top == 0x4f && model.VNI(vni) < model.FirstTransitVNI:
		return "flood"
	case top == 0x4f:
		return "to_border"
	case top == 0x4d:
		return "balance"
	case top == 0x4e && odd:
		return "arp_reply"
	case top == 0x4e:
		return "announce"
	}
	return "group"
}

var meterNames = map[uint32]string{
	meterEndpointARP: "endpoint-arp", meterProbe: "probe", meterRejected: "rejected", meterDHCP: "dhcp",
	meterUnknownMAC: "unknown-mac", meterICMPErrors: "icmp-errors", meterBorderRejected: "border-rejected",
	meterRouterARP: "router-arp",
}

var userdataNames = map[byte]string{
	ForAgentEndpointARP: "endpoint-arp", ForAgentProbe: "probe", ForAgentTTLExpired: "ttl-expired",
	ForAgentUnreachable: "unreachable", ForAgentGatewayClosed: "gateway-closed", ForAgentDHCP: "dhcp",
	ForAgentRouterARP: "router-arp", ForAgentICMPError: "icmp-error", ForAgentBorderTTLExpired: "border-ttl-expired",
	ForAgentUnknownMAC: "unknown-mac", ForAgentExceedsMTU: "exceeds-mtu",
	ForAgentPublicTTLExpired: "public-ttl-expired",
}
