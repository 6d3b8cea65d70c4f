package agent

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// inherits gives the address of an endpoint to another one, whose name it returns with its address.
func (s *pretendServer) inherits(was, now string) view.Address {
	s.mu.Lock()
	defer s.mu.Unlock()
	heir := s.places[was]
	heir.Endpoint, heir.Attachment = now, nil
	delete(s.places, was)
	s.places[now] = heir
	s.revision++
	s.deltas <- view.Delta{Revision: s.revision, Addresses: []view.Address{heir}}
	return heir
}

// While a call plugs an endpoint in, the loop leaves the port of the one that had the address before: by the time that
// it came to it, the port by that name could be the new one's.
func TestTidyLeavesThePortBeingMade(t *testing.T) {
	t.Parallel()
	s, o, ns := newPretendServer(), dummySwitch(t), netns(t, "heir")
	a, _ := start(t, s, o.Dir, t.TempDir())
	r := a.plugged(t, ns)
	const heir = "blue/web/heir"
	if err := a.attachments.begin(t.Context(), heir); err != nil {
		t.Fatal(err)
	}
	s.inherits(r.Endpoint, heir)
	a.eventually(t, "the view to follow", func() bool { _, ok := a.intent.own()[heir]; return ok })
	time.Sleep(2 * a.measured.every)
	a.eventually(t, "the loop to have tidied", func() bool { return !a.attachments.due })
	if !attach.Exists(r.Port) {
		t.Error("the interface is gone while a call makes one of its name")
	}
	a.attachments.end(heir)
	poll(t, "the interface is gone", func() bool { return !attach.Exists(r.Port) })
}

// An endpoint that is gone, or that could not be plugged in, takes nothing of the next one with its address.
func TestTheNextEndpointKeepsItsPort(t *testing.T) {
	t.Parallel()
	s, o, ns := newPretendServer(), dummySwitch(t), netns(t, "next")
	a, _ := start(t, s, o.Dir, t.TempDir())
	r := a.plugged(t, ns)
	var gone view.Address
	a.eventually(t, "the address", func() bool { gone = a.intent.own()[r.Endpoint]; return true })
	gone.Endpoint = "blue/web/gone"
	if err := a.attachments.detachOne(t.Context(), a.bridge.db, gone); err != nil {
		t.Error(err)
	}
	undone := false
	p := &plugging{attachments: a.attachments, name: gone.Endpoint, db: a.bridge.db, port: true, portName: r.Port,
		undo: func() error { undone = true; return nil }}
	p.rollBack()
	if undone || !attach.Exists(r.Port) || newEndpointPorts(a.bridge.db.Ports())[r.Endpoint].Name != r.Port {
		t.Error("the next endpoint has lost its port")
	}
	if left, err := leftInterface(gone); left != "" || err != nil {
		t.Errorf("%s passes for what is left of another endpoint; %v", left, err)
	}
}

// An interface that an endpoint which is gone has left on the host is not in the way of the next one with its address.
func TestAttachRemovesALeftInterface(t *testing.T) {
	t.Parallel()
	s, o, ns, before := newPretendServer(), dummySwitch(t), netns(t, "after"), netns(t, "before")
	address := newAddress("blue/web/" + ns)
	s.places[address.Endpoint] = address
	ip(t, "link", "add", newPortName(address), "type", "veth", "peer", "name", "eth0", "netns", before)
	a, _ := start(t, s, o.Dir, t.TempDir())
	a.plugged(t, ns)
	ip(t, "-n", ns, "link", "show", "eth0")
	path, err := attach.NetnsPath(ns)
	if err != nil {
		t.Fatal(err)
	}
	a.eventually(t, "the endpoint", func() bool {
		at := a.intent.own()[address.Endpoint].Attachment
		return at != nil && *at == (model.Attachment{Netns: path, Interface: "eth0"})
	})
}

// The next endpoint with an address has a port by the same name, whether it is plugged in or being so.
func TestPortsOfOneAddress(t *testing.T) {
	first := newAddress("blue/web/first")
	next := first
	next.Endpoint = "blue/web/next"
	ports := endpointPorts{next.Endpoint: ovs.Port{Name: newPortName(next)}}
	if !ports.another(first.Endpoint, ports.name(first)) || ports.another(next.Endpoint, ports.name(next)) {
		t.Error("whose a port is")
	}
	a := &attachments{busy: map[string]bool{next.Endpoint: true, "blue/web/elsewhere": true}}
	if making := a.making(map[string]view.Address{next.Endpoint: next}); len(making) != 1 || !making[newPortName(first)] {
		t.Errorf("calls make %v", making)
	}
}

func TestPortNumbers(t *testing.T) {
	at := func(last byte, name, via string) view.Address {
		return view.Address{AddressKey: view.AddressKey{VNI: 100, IP: netip.AddrFrom4([4]byte{10, 0, 0, last})}, Endpoint: name, Host: "host1",
			Attachment: &model.Attachment{Via: via}}
	}
	vm, nested, bare := at(2, "blue/web/vm", ""), at(3, "blue/web/nested", "blue/web/vm"), at(4, "blue/web/bare", "")
	for _, tt := range []struct {
		name  string
		own   []view.Address
		ports endpointPorts
		want  map[view.AddressKey]uint32
	}{
		{"none", nil, nil, map[view.AddressKey]uint32{}},
		{"plugged in, behind, not plugged in, gone", []view.Address{vm, nested, bare},
			endpointPorts{"blue/web/vm": {OFPort: 20}, "blue/web/gone": {OFPort: 21}},
			map[view.AddressKey]uint32{vm.AddressKey: 20, nested.AddressKey: 20}},
		{"a port that ovs-vswitchd is making has the number that was asked for", []view.Address{vm},
			endpointPorts{"blue/web/vm": {OFPortRequest: 22}}, map[view.AddressKey]uint32{vm.AddressKey: 22}},
		{"a port that ovs-vswitchd cannot make has none", []view.Address{vm},
			endpointPorts{"blue/web/vm": {OFPortRequest: 22, Err: "no such device"}}, map[view.AddressKey]uint32{}},
		{"behind an endpoint without a port", []view.Address{vm, nested}, nil, map[view.AddressKey]uint32{}},
	} {
		own := map[string]view.Address{}
		for _, address := range tt.own {
			own[address.Endpoint] = address
		}
		if got := portNumbers(own, tt.ports); !maps.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}
