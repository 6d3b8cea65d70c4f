package agent

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/overlane/overlane/firewall"
	"github.com/overlane/overlane/ovs"
)

// guarded is what is known of the table that keeps the host's own processes and containers from sending tunnel packets.
type guarded struct {
	set     firewall.Guard // the zero one: none was since the start
	due     time.Time      // of the next try, or look
	before  uint64         // dropped by the tables before this one
	dropped uint64         // in all
	busy    bool           // somebody looks at the table, or writes it
}

// dropForged is the name of what the table drops, beside the reasons of the switch.
const dropForged = "forged-tunnel"

// guard keeps the table at the peers that there are, and puts it back where somebody has removed it.
func (a *Agent) guard(ctx context.Context, now time.Time) {
	if a.config.NoFirewall || a.sw == nil {
		return
	}
	want := firewall.Guard{Port: a.config.UDPPort, Inbound: a.layout.Datapath == ovs.Kernel}
	for _, peer := range a.view.Peers {
		want.Peers = append(want.Peers, peer.VTEP)
	}
	slices.SortFunc(want.Peers, netip.Addr.Compare)
	g := &a.guarded
	if g.busy || want.Equal(g.set) && now.Before(g.due) {
		return
	}
	g.busy, g.due = true, now.Add(countEvery)
	was := g.set
	go func() {
		look := lookAtTable(was, want)
		a.do(ctx, func() { a.noteGuard(want, look) })
	}()
}

// tableLook is what was found of the table, and done about it.
type tableLook struct {
	dropped  uint64
	counted  error // of reading how many
	replaced bool  // the table is a new one
	failed   error // of writing
}

// lookAtTable reads the counter, and writes the table if that is not as wanted. The kernel may take tens of milliseconds for it, which the loop has not.
func lookAtTable(was, want firewall.Guard) (l tableLook) {
	counted, err := firewall.Dropped()
	l.dropped, l.counted = counted[firewall.Forged], err
	switch {
	case l.counted == nil && want.Equal(was):
		return l
	case l.counted == nil:
		if l.replaced, l.failed = firewall.Update(was, want); l.failed == nil {
			return l
		}
	}
	l.replaced, l.failed = true, firewall.Set(want)
	return l
}

func (a *Agent) noteGuard(want firewall.Guard, l tableLook) {
	g := &a.guarded
	g.busy = false
	if l.counted == nil {
		g.dropped = g.before + l.dropped
	}
	if g.set.Port != 0 && errors.Is(l.counted, firewall.ErrGone) {
		a.log.Warn("somebody had removed Overlane's nftables table", "put back", l.failed == nil)
		a.drift.Last = time.Now()
	}
	if l.failed == nil {
		g.set = want
	}
	if l.replaced && l.failed == nil {
		g.before = g.dropped
	}
	a.note(inFirewall, l.failed)
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
