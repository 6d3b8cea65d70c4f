package view

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/overlane/overlane/model"
)

// Machine is what the underlay may reach a host by.
type Machine struct {
	Host   string       `json:"host"`
	VTEP   netip.Addr   `json:"vtep"`
	Others []netip.Addr `json:"others,omitempty"` // that the host has found of its own, sorted
}

// Key is the host's name.
func (m Machine) Key() string { return m.Host }

var hosts = kind[string, Machine]{
	table:   func(v *View) *Table[string, Machine] { return &v.Hosts },
	changes: func(d *Delta) (*[]Machine, *[]string) { return &d.Hosts, &d.GoneHosts },
	compare: strings.Compare,
	equal: func(a, b Machine) bool {
		return a.Host == b.Host && a.VTEP == b.VTEP && slices.Equal(a.Others, b.Others)
	},
	receive: func(v *View, m *Machine) { m.Host = v.hostName(m.Host) },
}

// tellHosts names all hosts to one from which packets of a VPC leave.
func (t *Tracker) tellHosts(host string, changed bool, d *Delta) {
	k := t.hosts[host]
	leads := false
	for vpc := range k.gateways {
		leads = leads || t.members[vpc][host] > 0
	}
	if leads == k.leads && !changed {
		return
	}
	k.leads = leads
	now := Table[string, Machine]{}
	if leads {
		for o := range t.state.List("Host") {
			now.Put(t.machine(o.Name, o.Spec.(*model.HostSpec)))
		}
	}
	d.Hosts, d.GoneHosts = k.hosts.Delta(now, hosts.equal)
	k.hosts = now
}

// tellFound is for what has not been told with all hosts.
func (t *Tracker) tellFound(host string, found map[string]bool, d *Delta) {
	k := t.hosts[host]
	for other := range found {
		was, known := k.hosts[other]
		if spec := t.state.Host(other); known && spec != nil {
			if now := t.machine(other, spec); !hosts.equal(was, now) {
				k.hosts[other], d.Hosts = now, append(d.Hosts, now)
			}
		}
	}
}

func (t *Tracker) machine(host string, spec *model.HostSpec) Machine {
	m := Machine{Host: host, VTEP: spec.Address}
	for _, other := range t.others[host] {
		if !t.state.Outer(other) { // which no host can have
			m.Others = append(m.Others, other)
		}
	}
	return m
}
