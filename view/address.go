package view

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/overlane/overlane/model"
)

// AddressKey is an address within a segment. Other segments may have the same address.
type AddressKey struct {
	VNI model.VNI  `json:"vni"`
	IP  netip.Addr `json:"ip"`
}

// Address is the address of an endpoint, and the host that the endpoint is on.
type Address struct {
	AddressKey
	MAC        model.MAC         `json:"mac"`
	Endpoint   string            `json:"endpoint"` // VPC/SUBNET/ENDPOINT
	Host       string            `json:"host"`
	Ephemeral  bool              `json:"ephemeral,omitempty"`  // set for endpoints on the view's own host only
	Attachment *model.Attachment `json:"attachment,omitempty"` // set for endpoints on the view's own host only
}

// Key is the segment and the IP address.
func (a Address) Key() AddressKey { return a.AddressKey }

// Compare orders addresses by segment and IP address.
func (k AddressKey) Compare(other AddressKey) int {
	return cmp.Or(cmp.Compare(k.VNI, other.VNI), k.IP.Compare(other.IP))
}

// Via is the endpoint whose port the address shares; empty if the address has a port of its own, or is on another host.
func (a Address) Via() string {
	if a.Attachment == nil {
		return ""
	}
	return a.Attachment.Via
}

var addresses = kind[AddressKey, Address]{
	table:   func(v *View) *Table[AddressKey, Address] { return &v.Addresses },
	changes: func(d *Delta) (*[]Address, *[]AddressKey) { return &d.Addresses, &d.GoneAddresses },
	compare: AddressKey.Compare,
	equal:   sameAddress,
	receive: func(v *View, a *Address) { a.Host = v.hostName(a.Host) },
}

func sameAddress(a, b Address) bool {
	if a.Attachment != nil && b.Attachment != nil && *a.Attachment == *b.Attachment {
		b.Attachment = a.Attachment
	}
	return a == b
}

// addressesOf are the keys of the addresses of some segments. It walks the whole view, since segments seldom go.
func (v *View) addressesOf(segments []model.VNI) (keys []AddressKey) {
	if len(segments) == 0 {
		return nil
	}
	for key := range v.Addresses {
		if slices.Contains(segments, key.VNI) {
			keys = append(keys, key)
		}
	}
	return keys
}

func address(viewer string, vni model.VNI, name string, spec *model.EndpointSpec) Address {
	a := Address{AddressKey: AddressKey{vni, spec.Address}, MAC: spec.MAC, Endpoint: name, Host: spec.Host}
	if spec.Host == viewer {
		a.Ephemeral, a.Attachment = spec.Ephemeral, spec.Attachment
	}
	return a
}

// tellAllAddresses tells a host all addresses of a segment whose endpoints are plugged in.
func (t *Tracker) tellAllAddresses(n *news, s Segment) {
	for o := range t.state.EndpointsOf(s.Subnet) {
		if spec := o.Spec.(*model.EndpointSpec); spec.Host != "" {
			n.delta.Addresses = append(n.delta.Addresses, address(n.host, s.VNI, o.Name, spec))
		}
	}
}

// tellAddresses tells a host the addresses of a subnet that a commit has touched.
func (t *Tracker) tellAddresses(n *news, subnet string, addresses map[AddressKey]bool) {
	d := n.delta
	for key := range addresses {
		if o := t.state.EndpointAt(subnet, key.IP); o != nil && o.Spec.(*model.EndpointSpec).Host != "" {
			d.Addresses = append(d.Addresses, address(n.host, key.VNI, o.Name, o.Spec.(*model.EndpointSpec)))
		} else {
			d.GoneAddresses = append(d.GoneAddresses, key)
		}
	}
}
