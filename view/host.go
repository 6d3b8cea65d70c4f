package view

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/overlane/overlane/model"
)

// HostAddresses are the addresses by which the underlay may reach a host.
type HostAddresses struct {
	Host   string       `json:"host"`
	VTEP   netip.Addr   `json:"vtep"`
	Others []netip.Addr `json:"others,omitempty"` // found by the host's agent, sorted
}

// Key is the host's name.
func (m HostAddresses) Key() string { return m.Host }

var hosts = kind[string, HostAddresses]{
	table:   func(v *View) *Table[string, HostAddresses] { return &v.Hosts },
	changes: func(d *Delta) (*[]HostAddresses, *[]string) { return &d.Hosts, &d.GoneHosts },
	compare: strings.Compare,
	equal: func(a, b HostAddresses) bool {
		return a.Host == b.Host && a.VTEP == b.VTEP && slices.Equal(a.Others, b.Others)
	},
	receive: func(v *View, m *HostAddresses) { m.Host = v.hostName(m.Host) },
	track: func(_ *Tracker, k *kind[string, HostAddresses]) source {
		return &hostSource{kind: k, rows: Table[string, HostAddresses]{}, marked: map[string]bool{},
			changed: map[string]change[HostAddresses]{}}
	},
}

// hostSource has the rows of all hosts once, for all views with them.
type hostSource struct {
	kind    *kind[string, HostAddresses]
	rows    Table[string, HostAddresses]
	marked  map[string]bool                  // that may have changed
	changed map[string]change[HostAddresses] // in this commit
}

func (s *hostSource) load(t *Tracker) {
	for o := range t.state.List("Host") {
		s.marked[o.Name] = true
	}
}

// touch marks all hosts if a pool changes, since an address of a pool is never a host's.
func (s *hostSource) touch(t *Tracker, key model.Key, _ *touched) {
	switch key.Kind {
	case "Host":
		s.marked[key.Name] = true
	case "PublicPool":
		s.load(t)
	}
}

func (s *hostSource) update(t *Tracker, r *touched) {
	for host := range r.addresses {
		s.marked[host] = true
	}
	for host := range s.marked {
		var c change[HostAddresses]
		was, had := s.rows[host]
		if had {
			c.was = &was
		}
		now, has := t.hostAddresses(host)
		if has {
			c.now = &now
		}
		if had == has && (!has || s.kind.equal(was, now)) {
			continue
		}
		if s.changed[host] = c; has {
			s.rows.Put(now)
		} else {
			s.rows.Delete(host)
		}
	}
	clear(s.marked)
}

func (s *hostSource) tell(_ *Tracker, n *news) {
	knew := n.knowsHosts
	n.knowsHosts = n.forwardsOutside()
	d := n.delta
	for host, c := range s.changed {
		if knew && c.was != nil && (!n.knowsHosts || c.now == nil) {
			d.GoneHosts = append(d.GoneHosts, host)
		}
		if n.knowsHosts && c.now != nil {
			d.Hosts = append(d.Hosts, *c.now)
		}
	}
	if knew == n.knowsHosts {
		return
	}
	for host, m := range s.rows {
		if _, told := s.changed[host]; told {
			continue
		}
		if n.knowsHosts {
			d.Hosts = append(d.Hosts, m)
		} else {
			d.GoneHosts = append(d.GoneHosts, host)
		}
	}
}

func (s *hostSource) settle() { clear(s.changed) }

// forwardsOutside reports whether packets leave a VPC from the host.
func (s *subscription) forwardsOutside() bool {
	for _, sees := range s.visible {
		if sees.member && sees.outside {
			return true
		}
	}
	return false
}

func (t *Tracker) hostAddresses(host string) (m HostAddresses, ok bool) {
	spec := t.state.Host(host)
	if spec == nil {
		return m, false
	}
	m = HostAddresses{Host: host, VTEP: spec.Address}
	for _, other := range t.otherAddresses[host] {
		if !t.state.Outer(other) { // no host can have an address of a pool
			m.Others = append(m.Others, other)
		}
	}
	return m, true
}
