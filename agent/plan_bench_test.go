package agent

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// crowd is a VPC of so many endpoints, on 100 hosts and as many subnets, of which this host has its share.
func crowd(endpoints int) view.Delta {
	d := view.Delta{Revision: 1, Complete: true, Gateways: []view.Gateway{{Name: "blue", VPC: 1000, SNAT: true, MTU: 1450}}}
	hosts := min(100, endpoints/10+1)
	for n := range hosts {
		host, vtep := fmt.Sprint("h", n+1), netip.AddrFrom4([4]byte{192, 168, 5, byte(n + 1)})
		d.Hosts = append(d.Hosts, view.HostAddresses{Host: host, VTEP: vtep})
		if n > 0 {
			d.Peers = append(d.Peers, view.Peer{Host: host, VTEP: vtep})
		}
		d.Segments = append(d.Segments, view.Segment{VNI: model.VNI(100 + n), VPC: 1000, Subnet: fmt.Sprint("blue/web", n),
			CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(n), 0}), 24), MTU: 1450, Members: []string{host}})
	}
	for n := range endpoints {
		d.Addresses = append(d.Addresses, crowdAddress(n, hosts))
	}
	return d
}

func crowdAddress(n, hosts int) view.Address {
	return view.Address{
		AddressKey: view.AddressKey{VNI: model.VNI(100 + n%hosts), IP: netip.AddrFrom4([4]byte{10, 0, byte(n % hosts), byte(n/hosts + 2)})},
		MAC:        model.MAC{2, 0, 0, 0, byte(n >> 8), byte(n)}, Endpoint: fmt.Sprint("blue/web/", n), Host: fmt.Sprint("h", n%hosts+1),
		Attachment: &model.Attachment{},
	}
}

// BenchmarkOneChange is what the loop's own part of one change costs: the delta of one endpoint of another host is
// applied and planned, and its flows are compiled. What Open vSwitch and the disk cost is not in it.
func BenchmarkOneChange(b *testing.B) {
	for _, endpoints := range []int{0, 500, 5000} {
		b.Run(fmt.Sprint(endpoints), func(b *testing.B) {
			a := New(local.Config{Host: "h1", State: b.TempDir(), UDPPort: 4789, NATRange: netip.MustParsePrefix("100.64.0.0/10")}, nil, nil)
			a.apply(crowd(endpoints))
			a.plan(b.Context(), time.Now())
			a.flows.resync = ""
			clear(a.flows.touched)
			one := view.Address{AddressKey: view.AddressKey{VNI: 100, IP: netip.MustParseAddr("10.0.0.250")}, MAC: model.MAC{2, 1},
				Endpoint: "blue/web/one", Host: "h1"}
			for i := 0; b.Loop(); i++ {
				one.MAC[5] = byte(i)
				a.apply(view.Delta{Revision: int64(i + 2), Addresses: []view.Address{one}})
				a.intent.journal.pending.Reset()
				v, f := &a.intent.view, a.plan(b.Context(), time.Now())
				_, _ = hostConfig(v, f), layout(v, f)
				c := newChanges()
				for s := range a.flows.touched {
					a.flows.desired.replace(s, dataplane.CompileSubject(v, a.flows.wiring, s), c)
				}
				clear(a.flows.touched)
			}
		})
	}
}
