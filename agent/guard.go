package agent

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/overlane/overlane/firewall"
	"github.com/overlane/overlane/ovs"
)

// guarded is what is known of the table that keeps the host's own processes and containers from sending tunnel packets.
type guarded struct {
	set     firewall.Guard
	known   bool      // it was set since the start
	due     time.Time // of the next try, or look
	before  uint64    // dropped by the tables before this one, which is made anew with each change
	dropped uint64    // in all
}

// dropForged is the name of what the table drops, beside the reasons of the switch.
const dropForged = "forged-tunnel"

// guard keeps the table at the peers that there are, and puts it back where somebody has removed it.
func (a *Agent) guard(now time.Time) {
	if a.config.NoFirewall || a.sw == nil {
		return
	}
	want := firewall.Guard{Port: a.config.UDPPort, Inbound: a.layout.Datapath == ovs.Kernel}
	for _, peer := range a.view.Peers {
		want.Peers = append(want.Peers, peer.VTEP)
	}
	slices.SortFunc(want.Peers, netip.Addr.Compare)
	g := &a.guarded
	if g.known && want.Equal(g.set) && now.Before(g.due) {
		return
	}
	g.due = now.Add(countEvery)
	dropped, err := firewall.Dropped()
	if err == nil {
		g.dropped = g.before + dropped
	}
	if g.known && want.Equal(g.set) {
		if !errors.Is(err, firewall.ErrGone) {
			return
		}
		a.log.Warn("somebody has removed Overlane's nftables table; put back")
		a.drift.Last = now
	}
	if err = firewall.Set(want); err == nil {
		g.set, g.known, g.before = want, true, g.dropped
	}
	a.note(inFirewall, err)
}

// unguard takes away what an agent with another configuration has left.
func (a *Agent) unguard() {
	if !a.config.NoFirewall {
		return
	}
	if err := firewall.Remove(); err != nil {
		a.log.Warn("the nftables table of an agent before is still there", "err", err)
	}
}
