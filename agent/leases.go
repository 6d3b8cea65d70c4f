package agent

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/answer"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// Machines behind the port of an endpoint - nested VMs, what is on a bridge inside a container - get endpoints of their
// own when they ask by DHCP, where the subnet allows that. The server makes these, so an address is nobody else's; they
// end with their leases, and with the port.

const (
	offerTime  = 2 * time.Minute // an address is kept for a client that does not take it
	askAgain   = time.Second     // for one MAC
	asksAtOnce = 16              // of the server
	asksOfPort = 4               // of those
)

// leases are the addresses that endpoints of this host get by DHCP. Those of dynamic endpoints end; by name, it
// remembers when.
type leases struct {
	config      local.Config
	server      Server
	log         *slog.Logger
	queue       *queue
	intent      *intent
	flows       *switchSync
	attachments *attachments

	until  map[string]time.Time // when the lease runs out
	asked  map[string]time.Time // when the server was last asked to make it
	making map[string]string    // the endpoint in front of it, while the server is being asked
}

func newLeases(c local.Config, s Server, log *slog.Logger, q *queue, i *intent, flows *switchSync, at *attachments) *leases {
	return &leases{config: c, server: s, log: log, queue: q, intent: i, flows: flows, attachments: at,
		until: map[string]time.Time{}, asked: map[string]time.Time{}, making: map[string]string{}}
}

// dynamicName is the name of the endpoint of a MAC.
func dynamicName(subnet string, mac model.MAC) string {
	return subnet + "/dhcp-" + strings.ReplaceAll(mac.String(), ":", "-")
}

// welcome has the server make an endpoint of a MAC that asks by DHCP and is none's, and then answers it.
func (l *leases) welcome(ctx context.Context, p ovs.PacketIn) {
	q, ok := answer.ReadDHCP(p.Frame)
	front, plugged := l.at(p.InPort, inFront)
	if !ok || !plugged || !l.intent.complete || l.intent.away != "" {
		return
	}
	if address, known := l.at(p.InPort, withMAC(q.MAC())); known { // meanwhile
		l.lease(ctx, p, q, address)
		return
	}
	name := dynamicName(model.Parent(front.Endpoint), q.MAC())
	if !q.Seeks(l.intent.view.Segments[front.VNI].Gateway) || !l.mayAsk(name, q.MAC(), front) {
		return
	}
	now := time.Now()
	l.asked[name], l.until[name] = now, now.Add(offerTime)
	l.making[name] = front.Endpoint
	go func() {
		address, err := l.makeBehind(ctx, name, q.MAC(), front.Endpoint, p.InPort)
		l.queue.do(ctx, func() {
			delete(l.making, name)
			if err != nil {
				l.log.Debug("no endpoint for a MAC that asks by DHCP", "endpoint", name, "via", front.Endpoint, "err", err)
				return
			}
			l.lease(ctx, p, q, address)
		})
	}()
}

// mayAsk keeps strangers from taking a MAC of others, more than their port's share of the subnet, or all of the
// server's time.
func (l *leases) mayAsk(name string, mac model.MAC, front view.Address) bool {
	if mac == (model.MAC{}) || mac.Multicast() || mac == model.GatewayMAC {
		return false
	}
	if l.attachments.busy[name] || l.attachments.busy[front.Endpoint] || l.making[name] != "" || time.Since(l.asked[name]) < askAgain {
		return false
	}
	making := 0
	for _, of := range l.making {
		if of == front.Endpoint {
			making++
		}
	}
	if making >= asksOfPort || len(l.making) >= asksAtOnce {
		return false
	}
	if l.countBehind(front.Endpoint)+making >= l.intent.view.Segments[front.VNI].DHCP.DynamicPerPort() {
		l.log.Debug("no endpoint for a MAC that asks by DHCP: its port has as many as the subnet allows", "endpoint", name, "via", front.Endpoint)
		return false
	}
	for key, address := range l.intent.view.Addresses {
		if key.VNI == front.VNI && address.MAC == mac {
			return false
		}
	}
	return true
}

// countBehind counts the endpoints that are not being made just now.
func (l *leases) countBehind(front string) (n int) {
	for _, address := range l.intent.mine {
		if address.Via() == front && l.making[address.Endpoint] == "" {
			n++
		}
	}
	return n
}

// makeBehind returns once the switch has the new endpoint's flows.
func (l *leases) makeBehind(ctx context.Context, name string, mac model.MAC, front string, port uint32) (address view.Address, err error) {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	if _, err := l.server.Put(ctx, model.Object{Kind: "Endpoint", Name: name, Spec: &model.EndpointSpec{
		Host: l.config.Host, MAC: mac, Attachment: &model.Attachment{Via: front}, Ephemeral: true,
	}}); err != nil {
		return address, err
	}
	found := make(chan view.Address, 1) // when the time is up the loop may be looking still
	err = l.queue.await(ctx, "the switch to take the endpoint's flows", func() bool {
		address, ok := l.at(port, withMAC(mac))
		if ok = ok && l.flows.settled(); ok {
			found <- address
		}
		return ok
	})
	if err != nil {
		return address, err
	}
	return <-found, nil
}

// at finds an endpoint that a port of the switch leads to.
func (l *leases) at(port uint32, match func(view.Address) bool) (view.Address, bool) {
	return endpointAt(&l.intent.view, l.flows.wiring.Ports, port, match)
}

// end releases the dynamic endpoints that nobody has renewed. Who was leased an address before the agent has started
// has it for as long again.
func (l *leases) end(ctx context.Context, now time.Time) {
	own := l.intent.own()
	for name := range l.until {
		if _, ok := own[name]; !ok && l.making[name] == "" {
			delete(l.until, name)
		}
	}
	for name, at := range l.asked {
		if now.Sub(at) >= askAgain {
			delete(l.asked, name)
		}
	}
	if !l.intent.complete || l.intent.away != "" {
		return
	}
	for name, address := range own {
		if address.Via() == "" || !address.Ephemeral || l.attachments.busy[name] {
			continue
		}
		until, known := l.until[name]
		switch {
		case !known:
			l.renewed(address, now)
		case now.After(until):
			l.log.Debug("a lease has run out", "endpoint", name)
			l.attachments.release(ctx, address)
		}
	}
}

// renewed notes that the client of a dynamic endpoint has its address from now on for the time of a lease.
func (l *leases) renewed(address view.Address, now time.Time) {
	seconds := l.intent.view.Segments[address.VNI].DHCP.LeaseTime()
	l.until[address.Endpoint] = now.Add(time.Duration(seconds) * time.Second)
}

// answer leases an endpoint its address. The switch has seen to it that the message is from the MAC of one that the
// port leads to.
func (l *leases) answer(ctx context.Context, p ovs.PacketIn) {
	q, ok := answer.ReadDHCP(p.Frame)
	if !ok {
		return
	}
	if address, ok := l.at(p.InPort, withMAC(q.MAC())); ok {
		l.lease(ctx, p, q, address)
	}
}

// lease also keeps the time of a dynamic endpoint's lease, and lets go of one whose client does; any other has its
// address for as long as intent says.
func (l *leases) lease(ctx context.Context, p ovs.PacketIn, q answer.Question, address view.Address) {
	s := l.intent.view.Segments[address.VNI]
	lease := answer.Lease{MAC: address.MAC, Address: netip.PrefixFrom(address.IP, s.CIDR.Bits()), Gateway: s.Gateway, MTU: s.MTU, Options: s.DHCP}
	dynamic := address.Via() != "" && address.Ephemeral
	if dynamic && l.attachments.busy[address.Endpoint] { // it is being released
		return
	}
	if dynamic && q.GivesUp(lease) {
		l.log.Debug("DHCP", "endpoint", address.Endpoint, "asked", q.Asked(), "released", true)
		l.attachments.release(ctx, address)
		return
	}
	reply, leased := q.Answer(lease)
	l.log.Debug("DHCP", "endpoint", address.Endpoint, "asked", q.Asked(), "answered", reply != nil)
	if reply != nil {
		l.flows.sendBack(p, reply)
	}
	if dynamic && leased {
		l.renewed(address, time.Now())
	}
}
