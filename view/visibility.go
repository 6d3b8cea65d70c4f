package view

import "slices"

// visibility is what a host sees of a VPC. Its zero value is nothing.
type visibility struct {
	member  bool // the host has endpoints of the VPC: it sees the segments and, of the outside, what is its own
	border  bool // the VPC's public traffic passes the host: it sees what all hosts have of the outside
	outside bool // the VPC has a gateway; without one there is nothing of the outside to see
}

// visible tells what a host is to see of a VPC now.
func (t *Tracker) visible(host, vpc string) visibility {
	g, outside := t.gateway(vpc)
	_, border := slices.BinarySearch(g.BorderHosts, host)
	v := visibility{t.members[vpc][host] > 0, border, outside}
	if !v.member && !v.border {
		return visibility{}
	}
	return v
}

// sees tells whether a host sees what one, perhaps another, has of the outside.
func (v visibility) sees(viewer, host string) bool {
	return v.outside && (v.border || v.member && viewer == host)
}

// seen is what a host saw of a VPC before a commit, and what it sees since.
type seen struct{ was, now visibility }
