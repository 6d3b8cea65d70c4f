package view

import "slices"

// visibility is the part of a VPC that a host sees. Its zero value is nothing.
type visibility struct {
	member  bool // the host has endpoints of the VPC: it sees the segments, and its own public addresses and blocks
	border  bool // it is a border host of the VPC: it sees the public addresses and blocks of all hosts
	outside bool // the VPC has a gateway; without one, public addresses and blocks are not visible
}

// visible returns the part of a VPC that a host is to see now.
func (t *Tracker) visible(host, vpc string) visibility {
	g, outside := t.gateway(vpc)
	_, border := slices.BinarySearch(g.BorderHosts, host)
	v := visibility{t.members[vpc][host] > 0, border, outside}
	if !v.member && !v.border {
		return visibility{}
	}
	return v
}

// sees reports whether a viewer sees the public addresses and blocks of a host.
func (v visibility) sees(viewer, host string) bool {
	return v.outside && (v.border || v.member && viewer == host)
}

// seen is the part of a VPC that a host saw before a commit, and the part that it sees now.
type seen struct{ was, now visibility }
