package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// passage is this host's part in public traffic, if its view has a next hop of its own. While the passage is open, hosts send by it, and it holds next
// hops. While it is shut, which its watched tunnels tell the others, what still comes passes all the same.
type passage struct {
	path string // of what is kept
	kept passageKept

	nic      string    // that the switch is given; empty: none
	nicDue   time.Time // of the next look at it
	open     bool
	judged   bool      // by this agent; before, open is what the one before it has left
	loaded   bool      // the switch has had its flows since it was connected
	well     time.Time // since when nothing is wrong; zero: something is
	linkless bool      // the NIC has no link
	router   routerSeen
	herald   *herald
}

// passageKept is what must outlast an agent: the router, so that packets leave while the next agent has yet to ask, and how the NIC was.
type passageKept struct {
	Router    netip.Addr  `json:"router,omitzero"`
	RouterMAC model.MAC   `json:"routerMAC,omitzero"`
	NIC       string      `json:"nic,omitempty"`
	Was       *attach.NIC `json:"was,omitempty"` // before it was the switch's
}

// settleFor is how long all must be well before a passage that was shut opens again, unless no other one is open: a router or a link that comes and goes
// is not to move the traffic each time.
const settleFor = 3 * time.Second

// lookAtNIC is how often the host is kept out of the NIC.
const lookAtNIC = 10 * time.Second

func newPassage(c Config) passage {
	return passage{path: filepath.Join(c.State, "passage.json")}
}

const inPassageFile = "what is known of the upstream network"

func (p *passage) load() error {
	_, err := readState(p.path, inPassageFile, &p.kept)
	return err
}

func (p *passage) save() error { return writeState(p.path, inPassageFile, p.kept) }

// ownHop is this host's next hop; ok is false if it is no passage.
func (a *Agent) ownHop() (own view.NextHop, ok bool) {
	own, ok = a.view.NextHops[a.config.Host]
	return own, ok && own.Interface != ""
}

// watchedPort names the tunnel of its own that a peer has. It is shorter than an endpoint's.
func watchedPort(peer string) string { return attach.HashedIf("ovl-", peer, 14) }

// bfdMultiplier is how many packets in a row must be lost for a tunnel to be taken for dead (RFC 5880 section 6.8.4). A switch that is busy loses single ones: with 3 of 75 ms
// there were ten false alarms a minute on a tunnel under full load, with 7 of 32 ms one in five minutes on twelve tunnels.
const bfdMultiplier = 7

// watchedPorts are the tunnels whose other end OVS watches. That this passage is shut is said in them, too: OVS tells the other end.
func (a *Agent) watchedPorts() (ports []ovs.BridgePort) {
	_, passage := a.ownHop()
	interval := strconv.FormatInt(time.Duration(a.config.BFDInterval).Milliseconds(), 10)
	for _, host := range slices.Sorted(maps.Keys(a.view.Peers)) {
		peer := a.view.Peers[host]
		if !peer.Watched {
			continue
		}
		ports = append(ports, ovs.BridgePort{
			Name: watchedPort(host), Type: "vxlan",
			Options: map[string]string{"key": "flow", "remote_ip": peer.VTEP.String(), "local_ip": a.view.VTEP.String(), "dst_port": strconv.Itoa(int(a.config.UDPPort))},
			BFD: map[string]string{"enable": "true", "min_tx": interval, "min_rx": interval, "mult": strconv.Itoa(bfdMultiplier),
				"cpath_down": strconv.FormatBool(passage && !a.passage.open)},
		})
	}
	return ports
}

// externalPorts are the NIC on the upstream network, once the host is out of it.
func (a *Agent) externalPorts() []ovs.BridgePort {
	if a.passage.nic == "" {
		return nil
	}
	return []ovs.BridgePort{{Name: a.passage.nic}}
}

// followPassage gives the switch the NIC that the view names, and no other.
func (a *Agent) followPassage(now time.Time) {
	p := &a.passage
	own, ok := a.ownHop()
	switch {
	case !ok:
		p.nic = ""
		a.note(inNIC, nil)
		if a.complete {
			p.open, p.judged = false, false
			a.note(inPassage, nil)
		}
		return
	case a.layout.Datapath == "": // how depends on it
		if p.kept.NIC == own.Interface {
			p.nic = p.kept.NIC
		}
		return
	case own.Interface == p.nic && now.Before(p.nicDue):
		return
	}
	p.nicDue = now.Add(lookAtNIC)
	err := a.takeNIC(own.Interface)
	if err == nil {
		p.nic = own.Interface
	} else if p.nic != own.Interface {
		p.nic = ""
	}
	a.note(inNIC, err)
}

// takeNIC keeps the host out of a NIC. One that the switch has already stays there, whatever is found on it.
func (a *Agent) takeNIC(name string) error {
	p := &a.passage
	if name == a.config.Uplink {
		return fmt.Errorf("interface %s is the one that tunnels leave by (--uplink); the upstream network needs one of its own", name)
	}
	if err := attach.FreeNIC(name); err != nil {
		return err
	}
	if p.kept.NIC != "" && p.kept.NIC != name {
		return fmt.Errorf("interface %s, which the upstream network had before, has not been given back yet", p.kept.NIC)
	}
	if p.kept.Was == nil {
		was, err := attach.ReadNIC(name)
		if err != nil {
			return err
		}
		p.kept.NIC, p.kept.Was = name, &was
		if err := p.save(); err != nil {
			return err
		}
	}
	return attach.SeizeNIC(name, a.layout.Datapath == ovs.Kernel)
}

// giveBack is for a NIC that the switch has no more.
func (a *Agent) giveBack() {
	p := &a.passage
	if p.kept.Was == nil || p.nic == p.kept.NIC || !a.complete {
		return
	}
	if err := attach.ReleaseNIC(p.kept.NIC, *p.kept.Was); err != nil {
		a.log.Error("give back the interface of the upstream network", "err", err)
		return
	}
	a.log.Info("interface given back", "interface", p.kept.NIC)
	p.kept.NIC, p.kept.Was = "", nil
	a.note(inDisk, p.save())
}

// wirePassage takes the ports that the database has now into the wiring.
func (a *Agent) wirePassage() {
	watched := map[string]uint32{}
	for host, peer := range a.view.Peers {
		if port := a.layout.Ports[watchedPort(host)]; peer.Watched && port != 0 {
			watched[host] = port
		}
	}
	var external uint32
	if a.passage.nic != "" {
		external = a.layout.Ports[a.passage.nic]
	}
	own, ok := a.ownHop()
	var router model.MAC
	if ok && a.passage.kept.Router == own.Router {
		router = a.passage.kept.RouterMAC
	}
	w := &a.wiring
	if external != w.External {
		w.External = external
		a.wantResync("port on the upstream network")
	}
	if !maps.Equal(watched, w.Watched) {
		a.touchWatched(watched)
		w.Watched = watched
	}
	if router != w.Router {
		w.Router = router
		a.touched[dataplane.Subject{}] = true
	}
	if shut := ok && !a.passage.open; shut != w.Shut {
		w.Shut = shut
		for host := range a.view.NextHops {
			a.touched[dataplane.Subject{NextHop: host}] = true
		}
		for vpc := range a.view.Gateways {
			a.touched[dataplane.Subject{VPC: vpc}] = true
		}
	}
}

// touchWatched has everything compiled again that depends on watched tunnels, of which some are others now.
func (a *Agent) touchWatched(now map[string]uint32) {
	for _, ports := range []map[string]uint32{now, a.wiring.Watched} {
		for host := range ports {
			if now[host] != a.wiring.Watched[host] {
				a.touched[dataplane.Subject{Peer: host}] = true
			}
		}
	}
	for vpc := range a.view.Gateways {
		a.touched[dataplane.Subject{VPC: vpc}] = true
	}
	for host := range a.view.NextHops {
		a.touched[dataplane.Subject{NextHop: host}] = true
	}
}

// inheritPassage finds out what the agent before has left: a passage that is open carries traffic, and stays so unless something is found to be wrong.
func (a *Agent) inheritPassage() {
	for host := range a.view.Peers {
		if told, _ := a.db.BFD(watchedPort(host)); told["cpath_down"] == "false" {
			a.passage.open = true
		}
	}
}

// keepPassage opens and shuts the passage.
func (a *Agent) keepPassage(ctx context.Context, now time.Time) {
	p := &a.passage
	a.hail(ctx)
	own, ok := a.ownHop()
	if !ok {
		return
	}
	wrong, missing := a.wrongWithPassage()
	if wrong == nil && missing == nil {
		if p.well.IsZero() {
			p.well = now
		}
	} else {
		p.well = time.Time{}
	}
	switch {
	case p.open && wrong != nil:
		a.log.Warn("public traffic is sent by other hosts from now on", "why", wrong)
		a.setOpen(ctx, false)
	case !p.open && !p.well.IsZero() && (now.Sub(p.well) >= settleFor || !a.othersOpen()):
		a.log.Info("public traffic passes here", "router", p.kept.Router, "mac", p.kept.RouterMAC)
		a.setOpen(ctx, true)
	}
	p.judged = p.judged || p.loaded
	var why error
	if p.judged && !p.open && !own.Drain { // who drains a host knows
		why = errors.Join(wrong, missing)
	}
	a.note(inPassage, why)
}

// wrongWithPassage tells what is known to be wrong, which shuts a passage, and what is yet missing for it to open.
func (a *Agent) wrongWithPassage() (wrong, missing error) {
	p := &a.passage
	own, _ := a.ownHop()
	cutOff := a.cutOff()
	switch {
	case own.Drain:
		wrong = errors.New("it is drained (overlane host drain --undo)")
	case p.linkless && p.nic != "":
		wrong = fmt.Errorf("interface %s has no link", p.nic)
	case p.router.silent:
		wrong = fmt.Errorf("the router %s does not answer ARP", own.Router)
	case p.loaded && cutOff != nil:
		wrong = cutOff
	case a.troubles[inNIC] != "":
		missing = errors.New(a.troubles[inNIC])
	case !p.loaded || !a.upToDate():
		missing = errors.New("the switch has not confirmed its flows")
	case a.wiring.External == 0:
		missing = fmt.Errorf("the switch does not have interface %s", own.Interface)
	case !p.router.answers:
		missing = fmt.Errorf("the router %s has not answered ARP yet", own.Router)
	}
	return wrong, missing
}

// cutOff tells why this host is taken for cut off from all others. Of two hosts alone, each would take the death of the other for that; so there it takes a dead link as well.
// Passages that want no traffic are there all the same.
func (a *Agent) cutOff() error {
	for host := range a.wiring.Watched {
		if a.bfd(host)["state"] == "up" {
			return nil
		}
	}
	switch len(a.wiring.Watched) {
	case 0:
		return nil
	case 1:
		nic, err := a.underlayNIC()
		if err != nil { // the host's address is gone, perhaps; what of it matters is said elsewhere
			return nil
		}
		if has, err := attach.HasLink(nic); err != nil || has {
			return nil
		}
		return fmt.Errorf("the tunnel to the only other host is dead, and interface %s has no link", nic)
	}
	return errors.New("the tunnels to all hosts are dead")
}

// othersOpen tells whether another passage of the upstream network takes the traffic.
func (a *Agent) othersOpen() bool {
	for host := range a.view.NextHops {
		if host != a.config.Host && a.bfdAlive(host) {
			return true
		}
	}
	return false
}

// bfdAlive tells what OVS finds of a watched tunnel: the peer is there and, if it is a passage, open.
func (a *Agent) bfdAlive(host string) bool { return a.bfd(host)["forwarding"] == "true" }

// setOpen says it in all watched tunnels at once, and holds next hops or not.
func (a *Agent) setOpen(ctx context.Context, open bool) {
	a.passage.open = open
	if a.db != nil {
		a.databaseChanged(ctx)
	}
	a.wirePassage()
}

// shutBefore shuts the passage of a switch that turns out to have none of its flows before it gets them: it would hold next hops, and be sent to, before
// it knows the way.
func (a *Agent) shutBefore(ctx context.Context, have ovs.Contents) error {
	p := &a.passage
	if _, ok := a.ownHop(); !ok || !p.open || p.loaded || a.hasPassage(have) {
		return nil
	}
	a.log.Info("the switch has no way to the upstream network yet; public traffic is sent by other hosts until it has")
	p.open = false
	err := a.ensure(ctx)
	a.wirePassage()
	return err
}

func (a *Agent) hasPassage(have ovs.Contents) bool {
	f, ok := dataplane.Exit(&a.view, a.wiring)
	if !ok {
		return false
	}
	key := f.Key()
	for _, installed := range have.Flows {
		if installed.Key == key {
			return true
		}
	}
	return false
}

// passageLost is when the switch has gone, and its flows perhaps with it: one that starts again is to find the passage shut.
func (a *Agent) passageLost() {
	p := &a.passage
	p.loaded, p.router, p.linkless = false, routerSeen{}, false
	if p.herald != nil {
		p.herald.stop()
		p.herald = nil
	}
	if _, ok := a.ownHop(); ok {
		p.open = false
	}
}

// passageStatus is nil on a host that is no passage.
func (a *Agent) passageStatus() *model.PassageStatus {
	p := &a.passage
	own, ok := a.ownHop()
	if !ok {
		return nil
	}
	s := &model.PassageStatus{Open: p.open, Router: own.Router.String(), Answers: p.router.answers, Since: p.router.since}
	if p.kept.Router == own.Router {
		s.RouterMAC = p.kept.RouterMAC.String()
	}
	if wrong, missing := a.wrongWithPassage(); !p.open {
		s.Reason = "all is well, but it has not been for long"
		if why := errors.Join(wrong, missing); why != nil {
			s.Reason = why.Error()
		}
	}
	for host, n := range a.view.NextHops {
		if dataplane.Holds(&a.view, a.wiring, n, a.bfdAlive) {
			s.Holds = append(s.Holds, host)
		}
	}
	slices.Sort(s.Holds)
	return s
}
