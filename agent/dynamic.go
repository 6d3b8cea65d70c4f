package agent

import (
	"context"
	"strings"
	"time"

	"github.com/overlane/overlane/answer"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// Machines behind the port of an endpoint - nested VMs, what is on a bridge inside a container - get endpoints of their own when they ask by DHCP, where the subnet
// allows that. The server makes these, so an address is nobody else's; they end with their leases, and with the port.

const (
	offerTime  = 2 * time.Minute // an address is kept for a client that does not take it
	askAgain   = time.Second     // for one MAC
	asksAtOnce = 16              // of the server
	asksOfPort = 4               // of those
)

// dynamic is what the agent remembers of dynamic endpoints, by name.
type dynamic struct {
	until  map[string]time.Time // when the lease runs out
	asked  map[string]time.Time // when the server was last asked to make it
	making map[string]string    // the endpoint in front of it, while the server is being asked
}

func newDynamic() dynamic {
	return dynamic{until: map[string]time.Time{}, asked: map[string]time.Time{}, making: map[string]string{}}
}

// dynamicName is the name of the endpoint of a MAC.
func dynamicName(subnet string, mac model.MAC) string {
	return subnet + "/dhcp-" + strings.ReplaceAll(mac.String(), ":", "-")
}

// welcome has the server make an endpoint of a MAC that asks by DHCP and is none's, and then answers it.
func (a *Agent) welcome(ctx context.Context, p ovs.PacketIn) {
	q, ok := answer.ReadDHCP(p.Frame)
	front, plugged := a.frontAt(p.InPort)
	if !ok || !plugged || !a.complete || a.away != "" {
		return
	}
	if address, known := a.macAt(p.InPort, q.MAC()); known { // meanwhile
		a.answerLease(ctx, p, q, address)
		return
	}
	name := dynamicName(model.Parent(front.Endpoint), q.MAC())
	if !q.Seeks(a.view.Segments[front.VNI].Gateway) || !a.mayAsk(name, q.MAC(), front) {
		return
	}
	now := time.Now()
	a.dynamic.asked[name], a.dynamic.until[name] = now, now.Add(offerTime)
	a.dynamic.making[name] = front.Endpoint
	go func() {
		address, err := a.makeBehind(ctx, name, q.MAC(), front.Endpoint, p.InPort)
		a.do(ctx, func() {
			delete(a.dynamic.making, name)
			if err != nil {
				a.log.Debug("no endpoint for a MAC that asks by DHCP", "endpoint", name, "via", front.Endpoint, "err", err)
				return
			}
			a.answerLease(ctx, p, q, address)
		})
	}()
}

// mayAsk keeps strangers from taking a MAC of others, more than their port's share of the subnet, or all of the server's time.
func (a *Agent) mayAsk(name string, mac model.MAC, front view.Address) bool {
	if mac == (model.MAC{}) || mac.Multicast() || mac == model.GatewayMAC {
		return false
	}
	if a.attachments.busy[name] || a.attachments.busy[front.Endpoint] || a.dynamic.making[name] != "" || time.Since(a.dynamic.asked[name]) < askAgain {
		return false
	}
	making := 0
	for _, of := range a.dynamic.making {
		if of == front.Endpoint {
			making++
		}
	}
	if making >= asksOfPort || len(a.dynamic.making) >= asksAtOnce {
		return false
	}
	if a.countBehind(front.Endpoint)+making >= a.view.Segments[front.VNI].DHCP.DynamicPerPort() {
		a.log.Debug("no endpoint for a MAC that asks by DHCP: its port has as many as the subnet allows", "endpoint", name, "via", front.Endpoint)
		return false
	}
	for key, address := range a.view.Addresses {
		if key.VNI == front.VNI && address.MAC == mac {
			return false
		}
	}
	return true
}

// countBehind counts those that are not being made just now.
func (a *Agent) countBehind(front string) (n int) {
	for _, address := range a.mine {
		if address.Via() == front && a.dynamic.making[address.Endpoint] == "" {
			n++
		}
	}
	return n
}

// makeBehind returns once the switch has the new endpoint's flows.
func (a *Agent) makeBehind(ctx context.Context, name string, mac model.MAC, front string, port uint32) (address view.Address, err error) {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	if _, err := a.server.Put(ctx, model.Object{Kind: "Endpoint", Name: name, Spec: &model.EndpointSpec{
		Host: a.config.Host, MAC: mac, Attachment: &model.Attachment{Via: front}, Ephemeral: true,
	}}); err != nil {
		return address, err
	}
	found := make(chan view.Address, 1) // when the time is up the loop may be looking still
	err = a.await(ctx, "the switch to take the endpoint's flows", func() bool {
		address, ok := a.macAt(port, mac)
		if ok = ok && len(a.touched) == 0 && a.resync == ""; ok {
			found <- address
		}
		return ok
	})
	if err != nil {
		return address, err
	}
	return <-found, nil
}

// frontAt is the endpoint that is plugged in by a port.
func (a *Agent) frontAt(port uint32) (view.Address, bool) {
	return a.at(port, func(address view.Address) bool { return address.Via() == "" && address.Attachment != nil })
}

func (a *Agent) macAt(port uint32, mac model.MAC) (view.Address, bool) {
	return a.at(port, func(address view.Address) bool { return address.MAC == mac })
}

// at finds an endpoint that a port leads to.
func (a *Agent) at(port uint32, match func(view.Address) bool) (view.Address, bool) {
	for key, at := range a.wiring.Ports {
		if at != port {
			continue
		}
		if address, ok := a.view.Addresses[key]; ok && match(address) {
			return address, true
		}
	}
	return view.Address{}, false
}

// endLeases releases the dynamic endpoints that nobody has renewed. Who was leased an address before the agent has started has it for as long again.
func (a *Agent) endLeases(ctx context.Context, now time.Time) {
	own := a.own()
	for name := range a.dynamic.until {
		if _, ok := own[name]; !ok && a.dynamic.making[name] == "" {
			delete(a.dynamic.until, name)
		}
	}
	for name, at := range a.dynamic.asked {
		if now.Sub(at) >= askAgain {
			delete(a.dynamic.asked, name)
		}
	}
	if !a.complete || a.away != "" {
		return
	}
	for name, address := range own {
		if address.Via() == "" || !address.Ephemeral || a.attachments.busy[name] {
			continue
		}
		until, known := a.dynamic.until[name]
		switch {
		case !known:
			a.leased(address, now)
		case now.After(until):
			a.log.Debug("a lease has run out", "endpoint", name)
			a.attachments.release(ctx, address)
		}
	}
}

// leased notes that the client of a dynamic endpoint has its address from now on for the time of a lease.
func (a *Agent) leased(address view.Address, now time.Time) {
	seconds := a.view.Segments[address.VNI].DHCP.LeaseTime()
	a.dynamic.until[address.Endpoint] = now.Add(time.Duration(seconds) * time.Second)
}
