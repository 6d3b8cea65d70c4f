package agent

import (
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/view"
)

// intent is the view that the server has sent to this host, and whether it is complete.
type intent struct {
	view     view.View
	revision int64                            // of the view
	complete bool                             // a complete delta has come since the start, and deletes
	mine     map[view.AddressKey]view.Address // the addresses of the view that are on this host
	ours     map[string]view.Address          // the same by endpoint; nil: to be made by own
	hosts    []netip.Addr                     // the addresses of all hosts of the view, sorted
	away     string                           // why the server is not reached; empty: it is
	journal  journal
}

func newIntent(c local.Config) *intent {
	return &intent{
		view:    view.View{Host: c.Host, VTEP: c.Address},
		mine:    map[view.AddressKey]view.Address{},
		away:    "not reached since the start",
		journal: journal{path: filepath.Join(c.State, "view.ndjson")},
	}
}

// own gives the addresses of this host by endpoint. Nobody writes the map: a change of the view makes a new one.
func (i *intent) own() map[string]view.Address {
	if i.ours == nil {
		i.ours = make(map[string]view.Address, len(i.mine))
		for _, address := range i.mine {
			i.ours[address.Endpoint] = address
		}
	}
	return i.ours
}

// take applies a delta. It returns the delta that undoes what has changed in the view, and the addresses that endpoints
// of this host have left.
func (i *intent) take(d view.Delta) (undo view.Delta, left []leaver) {
	before := i.concerned(d)
	for key := range before {
		delete(i.mine, key)
	}
	for _, address := range d.Addresses {
		if address.Host == i.view.Host {
			i.mine[address.AddressKey] = address
		}
	}
	for key, address := range before {
		if i.mine[key].Endpoint != address.Endpoint {
			left = append(left, leaver{i.view.Segments[key.VNI].VPC, key.IP})
		}
	}
	i.ours = nil
	i.revision = d.Revision
	undo = i.view.Apply(d)
	if len(undo.Hosts)+len(undo.GoneHosts) > 0 {
		i.hosts = hostAddresses(&i.view)
	}
	return undo, left
}

// receive takes a delta of the server's, and keeps it for the disk.
func (i *intent) receive(d view.Delta) (undo view.Delta, left []leaver, err error) {
	undo, left = i.take(d)
	i.complete = i.complete || d.Complete
	return undo, left, i.journal.note(d)
}

// concerned are the addresses of this host, as they are now, that a delta replaces or removes.
func (i *intent) concerned(d view.Delta) map[view.AddressKey]view.Address {
	concerned := map[view.AddressKey]view.Address{}
	add := func(key view.AddressKey) {
		if address, ok := i.mine[key]; ok {
			concerned[key] = address
		}
	}
	if d.Complete || len(d.GoneSegments) > 0 {
		for key := range i.mine {
			if d.Complete || slices.Contains(d.GoneSegments, key.VNI) {
				add(key)
			}
		}
	}
	for _, key := range d.GoneAddresses {
		add(key)
	}
	for _, address := range d.Addresses {
		add(address.AddressKey)
	}
	return concerned
}
