package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/overlane/overlane/firewall"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/outside"
	"github.com/overlane/overlane/ovs"
)

// guarded is what is known of the host's own part in the network: the nftables table that keeps its processes and containers from sending tunnel
// packets and endpoints from reaching it, and the kernel's way outside.
type guarded struct {
	asked   firewall.Guard    // what the last look was for: without exits, which it finds out
	set     firewall.Guard    // what the table has; the zero one: none was set since the start
	due     time.Time         // of the next try, or look
	before  map[string]uint64 // dropped by the tables before this one
	dropped map[string]uint64 // in all
	busy    bool              // somebody looks, or writes
	looked  bool              // somebody has since the start
	native  outside.Native    // that the last look was for
	carried outside.Carried   // of it
	path    string            // of what is kept:
	Opened  []string          `json:"opened"` // interfaces that forward because of a way outside, or public traffic
}

func newGuarded(c Config) guarded { return guarded{path: filepath.Join(c.State, "forwarding.json")} }

// dropForged is the name of tunnel packets that the table drops, beside the reasons of the switch.
const dropForged = "forged-tunnel"

// guard keeps the table and the way outside as the view wants them, and puts back what somebody has removed. The kernel may take tens of milliseconds
// for it, which the loop has not.
func (a *Agent) guard(ctx context.Context, now time.Time) {
	g := &a.guarded
	if a.config.NoFirewall {
		a.note(inOutside, a.unguardedWay())
		a.findServers(ctx, now)
		return
	}
	if a.sw == nil || !a.complete && a.revision == 0 { // or nothing is known: what another run has set is better
		return
	}
	want := firewall.Guard{Port: a.config.UDPPort, Inbound: a.layout.Datapath == ovs.Kernel, Outside: a.way()}
	for _, peer := range a.view.Peers {
		want.Peers = append(want.Peers, peer.VTEP)
	}
	slices.SortFunc(want.Peers, netip.Addr.Compare)
	native, ok := a.native()
	if ok {
		want.Native = a.guardOf(native)
	}
	if g.busy || reflect.DeepEqual(want, g.asked) && reflect.DeepEqual(native, g.native) && now.Before(g.due) {
		return
	}
	g.busy, g.due, g.asked, g.native = true, now.Add(countEvery), copyOf(want), native
	look := hostLook{was: g.set, first: !g.looked, server: a.config.Server, way: a.ownWay(),
		masquerades: a.masquerades(), native: native, opened: slices.Clone(g.Opened)}
	go func() { // which completes what was asked for
		look.at(ctx, want)
		a.do(ctx, func() { a.noteGuard(look) })
	}()
}

// findServers is for hosts without a table, whose switch guards all the same.
func (a *Agent) findServers(ctx context.Context, now time.Time) {
	g := &a.guarded
	if g.busy || now.Before(g.due) {
		return
	}
	g.busy, g.due = true, now.Add(countEvery)
	go func() {
		servers, err := addressesOf(ctx, a.config.Server)
		a.do(ctx, func() {
			g.busy, g.looked = false, true
			a.noteServers(servers, err)
		})
	}()
}

// noteServers keeps those that were found last where the server's name leads nowhere just now.
func (a *Agent) noteServers(servers []netip.Addr, err error) {
	if err == nil {
		a.servers = servers
	}
	a.followReserved()
}

// copyOf is one that nothing is added to.
func copyOf(g firewall.Guard) firewall.Guard {
	if g.Outside != nil {
		o := *g.Outside
		o.Reserved = slices.Clone(o.Reserved)
		g.Outside = &o
	}
	if g.Native != nil {
		n := *g.Native
		g.Native = &n
	}
	return g
}

// unguardedWay refuses to translate without a table: endpoints would reach whatever the host does.
func (a *Agent) unguardedWay() error {
	if len(a.wiring.Translations) == 0 && !a.isEdge() {
		return nil
	}
	return errors.New("the agent's configuration says noFirewall; take that out, or turn SNAT off and let no public traffic pass")
}

// hostLook is what was found of the host's own part, and done about it.
type hostLook struct {
	was    firewall.Guard
	first  bool
	server string
	way    outside.Way
	native outside.Native

	masquerades bool     // the way is for SNAT, too
	opened      []string // interfaces that were made to forward; with those of this look

	servers   []netip.Addr
	unknown   error // why not all servers are known
	carried   outside.Carried
	uncarried error          // why not all public traffic is
	set       firewall.Guard // what the table has now
	dropped   map[string]uint64
	counted   error // of reading how many
	replaced  bool  // the table is a new one
	failed    error // of writing it
	noWay     error // why the host is no way outside, or not all of it
}

// at makes the host as wanted. The table is there before the switch sends anything that it is to guard.
func (l *hostLook) at(ctx context.Context, want firewall.Guard) {
	l.servers, l.unknown = addressesOf(ctx, l.server)
	if want.Outside != nil {
		l.reserve(want.Outside)
		if l.noWay = l.prepare(want.Outside); l.noWay != nil && l.was.Outside == nil {
			want.Outside = nil
		} else if l.noWay != nil { // what works stays as it was
			want.Outside.Exits, want.Outside.Closed = l.was.Outside.Exits, l.was.Outside.Closed
		}
	}
	l.noWay = errors.Join(l.noWay, l.unknown)
	if want.Native != nil {
		l.carry(&want)
	}
	if want.Outside == nil && want.Native == nil { // before the table opens them to everybody
		l.closeForwarding()
	}
	l.table(want)
	if l.failed != nil && l.was.Outside == nil && l.was.Native == nil { // nobody guards what was opened
		l.closeForwarding()
	}
	l.letPass(ctx, want)
}

func (l *hostLook) closeForwarding() {
	err := outside.CloseForwarding(l.opened)
	if err == nil {
		l.opened = nil
	}
	l.noWay = errors.Join(l.noWay, err)
}

// prepare has the kernel route and forward, and completes what the table is to be.
func (l *hostLook) prepare(o *firewall.Outside) (err error) {
	if err := outside.Conflict(l.way); err != nil {
		return err
	}
	if _, err := outside.Ensure(l.way); err != nil {
		return err
	}
	if l.masquerades {
		return l.open(o)
	}
	return nil
}

// reserve adds to what endpoints are not to reach. Where a server's name leads nowhere just now, the way goes on without it: who gets that far is asked for a certificate.
func (l *hostLook) reserve(o *firewall.Outside) {
	o.Reserved = distinct(append(append(o.Reserved, l.servers...), azureMetadata))
}

// open finds the interfaces that lead outside.
func (l *hostLook) open(o *firewall.Outside) (err error) {
	if o.Exits, err = outside.Exits(); err != nil {
		return err
	}
	if len(o.Exits) == 0 {
		return errors.New("this host has no default route, and so no way to the outside itself")
	}
	var opened []string
	o.Closed, opened, err = outside.OpenForwarding(o.Exits)
	l.opened = append(l.opened, opened...)
	return err
}

// azureMetadata tells a machine of Azure its secrets; others' is link-local, which is out of reach anyway.
var azureMetadata = netip.AddrFrom4([4]byte{168, 63, 129, 16})

// resolveTimeout is how long flows and table may have to wait for a name.
const resolveTimeout = 2 * time.Second

// addressesOf are the server's.
func addressesOf(ctx context.Context, server string) ([]netip.Addr, error) {
	u, err := url.Parse(server)
	if err != nil || u.Hostname() == "" { // on this host
		return nil, nil
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		return []netip.Addr{ip}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("find the server, which endpoints must not reach: %w", err)
	}
	for i := range addresses {
		addresses[i] = addresses[i].Unmap()
	}
	return addresses, nil
}

// table reads the counters, and writes the table if that is not as wanted.
func (l *hostLook) table(want firewall.Guard) {
	l.set = l.was
	l.dropped, l.counted = firewall.Dropped()
	if l.counted == nil && l.was.Port != 0 {
		l.counted = firewall.Intact(l.was)
	}
	if l.counted == nil && want.Equal(l.was) {
		return
	}
	l.failed = l.counted
	if l.counted == nil {
		l.replaced, l.failed = firewall.Update(l.was, want)
	}
	if l.failed != nil {
		l.replaced, l.failed = true, firewall.Set(want)
	}
	if l.failed == nil {
		l.set = want
	}
}

func (a *Agent) noteGuard(l hostLook) {
	g := &a.guarded
	g.busy, g.looked = false, true
	if l.counted == nil {
		g.dropped = maps.Clone(g.before)
		for name, n := range l.dropped {
			if g.dropped == nil {
				g.dropped = map[string]uint64{}
			}
			if name == firewall.Forged {
				name = dropForged
			}
			g.dropped[name] += n
		}
	}
	if g.set.Port != 0 && errors.Is(l.counted, firewall.ErrGone) {
		a.log.Warn("somebody had removed Overlane's nftables table, or rules of it", "put back", l.failed == nil)
		a.drift.Last = time.Now()
	}
	g.set = l.set
	if opened := slices.Compact(slices.Sorted(slices.Values(l.opened))); !slices.Equal(opened, g.Opened) {
		g.Opened = opened
		a.note(inDisk, g.save())
	}
	if l.replaced && l.failed == nil {
		g.before = g.dropped
	}
	a.note(inFirewall, l.failed)
	if errors.Join(l.failed, l.noWay, l.uncarried) != nil {
		g.due = time.Now().Add(retryAfter)
	}
	a.note(inOutside, l.noWay)
	a.note(inNative, l.uncarried)
	if l.carried.Underlay != "" || l.set.Native == nil {
		g.carried = l.carried
	}
	a.noteServers(l.servers, l.unknown) // before flows lead anywhere
	a.openWay()
}

// openWay leads the switch's flows outside once the host guards that way, and away from there when no VPC wants it any more.
func (a *Agent) openWay() {
	next := a.wiring
	next.Outside = 0
	if a.guarded.set.Outside != nil {
		next.Outside = a.layout.Ports[outsidePort]
	}
	a.rewire(next)
	a.openNative()
}

const inGuardFile = "which interfaces forward because of Overlane"

func (g *guarded) load() error {
	_, err := readState(g.path, inGuardFile, g)
	return err
}

func (g *guarded) save() error { return writeState(g.path, inGuardFile, g) }

// unguard takes away what an agent with another configuration has left.
func (a *Agent) unguard(ctx context.Context) {
	if !a.config.NoFirewall {
		return
	}
	err := errors.Join(outside.RemoveNative(), outside.RemoveWay(a.ownWay()), outside.ForgetDocker(ctx), outside.CloseForwarding(a.guarded.Opened), firewall.Remove())
	if err != nil {
		a.log.Warn("something of an agent with a firewall is still there", "err", err)
	}
}

// ownWay is the way outside that this host has, or would have.
func (a *Agent) ownWay() outside.Way {
	return outside.Way{Port: outsidePort, Range: a.config.NATRange, MAC: model.GatewayMAC}
}
