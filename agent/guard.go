package agent

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/overlane/overlane/firewall"
)

// guarded is what is known of the table that keeps the host's own processes and containers from sending tunnel packets.
type guarded struct {
	set     firewall.Guard
	known   bool      // it was set since the start
	due     time.Time // of the next try, or look
	dropped uint64
}

// dropForged is the name of what the table drops, beside the reasons of the switch.
const dropForged = "forged-tunnel"

// guard keeps the table at the peers that there are, and puts it back where somebody has removed it.
func (a *Agent) guard(now time.Time) {
	if a.config.NoFirewall || a.sw == nil {
		return
	}
	want := firewall.Guard{Port: a.config.UDPPort}
	for _, peer := range a.view.Peers {
		want.Peers = append(want.Peers, peer.VTEP)
	}
	slices.SortFunc(want.Peers, netip.Addr.Compare)
	g := &a.guarded
	if g.known && want.Equal(g.set) && now.Before(g.due) {
		return
	}
	var err error
	g.due = now.Add(countEvery)
	if g.known && want.Equal(g.set) {
		if g.dropped, err = firewall.Dropped(); !errors.Is(err, firewall.ErrGone) {
			a.note(inFirewall, err)
			return
		}
		a.log.Warn("somebody has removed Overlane's nftables table; put back")
		a.drift.Last = now
	}
	if err = firewall.Set(want); err == nil {
		g.set, g.known = want, true
	}
	a.note(inFirewall, err)
}
