package dataplane

import (
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// The table public_mtu sends a packet for a public address to the address's host, unless the packet exceeds the MTU of
// the VPC. Then the agent sends the MTU to the packet's sender, so that path MTU discovery (RFC 1191) works from
// outside.

// checkMTU sends a packet out by a port, or to an endpoint here if the port is 0, unless the packet exceeds the VPC's
// MTU. The actions before come first.
func checkMTU(g view.Gateway, port uint32, before ...flow.Action) []flow.Action {
	actions := append(before, set(foundPort, port))
	if g.MTU != 0 {
		actions = append(actions, flow.CheckLarger{Len: ethernetHeader + uint16(g.MTU), Dst: slotTooLong.Field,
			Bit: slotTooLong.First})
	}
	return append(actions, flow.Resubmit{Table: tablePublicMTU})
}

const ethernetHeader = 14

// publicMTUStatic gives the static flows on border hosts and on hosts with hairpins.
func publicMTUStatic(w Wiring) []flow.Flow {
	by := func(port uint32, actions ...flow.Action) flow.Flow {
		return flow.Flow{Table: tablePublicMTU, Priority: prioNormal, Match: flow.On(flow.IP, is(foundPort, port)),
			Actions: actions}
	}
	flows := []flow.Flow{
		{Table: tablePublicMTU, Priority: prioSpecial, Match: flow.On(flow.IP, is(slotTooLong, 1)),
			Actions: []flow.Action{flow.CT{Table: tableFragNeeded}}},
		drop(tablePublicMTU, prioMiss, dropNoPublicIP),
		reject(tableFragNeeded, prioMiss, dropTooLong, ForAgentExceedsMTU),
	}
	if w.UpstreamPort != 0 {
		flows = append(flows, by(w.TunnelPort, flow.DecTTL{}, flow.SetField{Field: flow.EthSrc, Value: gatewayMAC},
			flow.Output{Port: w.TunnelPort}))
	}
	if w.UpstreamPort != 0 && w.UnderlayPort != 0 {
		flows = append(flows, by(w.UnderlayPort,
			flow.DecTTL{},
			store(slotKey, flow.IPDst),
			flow.SetField{Field: flow.EthSrc, Value: gatewayMAC},
			flow.SetField{Field: flow.EthDst, Value: flow.MAC(model.KernelMAC)},
			flow.Output{Port: w.UnderlayPort}))
	}
	if w.translates() {
		// conntrack of this host may have translated it
		flows = append(flows, by(0, flow.CTClear{}, flow.Goto{Table: tablePublicNAT}))
	}
	return flows
}
