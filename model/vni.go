package model

import (
	"fmt"
	"strings"
)

// VNI is a VXLAN network identifier, 24 bits (RFC 7348 section 5).
type VNI uint32

// MaxVNI is the last VNI a subnet may have. The one above it, [ProbeVNI], carries Overlane's own probes between hosts.
const (
	MinVNI   VNI = 1
	MaxVNI   VNI = 0xfffffe
	ProbeVNI VNI = 0xffffff
)

// FirstAllocatedVNI is the first VNI that is allocated to subnets; lower ones are for users to choose. FirstTransitVNI
// is the first one that is allocated to VPCs.
const (
	FirstAllocatedVNI VNI = 4096
	FirstTransitVNI   VNI = 0xf00000
)

func (f *findings) vni(field string, v VNI) {
	if v > MaxVNI {
		f.add(field, v, fmt.Sprintf("is not from %d to %d", MinVNI, MaxVNI), "choose one in that range, or leave it out")
	}
}

// vniUse says which object has a VNI. The name tells the kind: a subnet's has two parts.
func vniUse(holder string) string {
	if strings.Contains(holder, "/") {
		return "is the VNI of Subnet " + holder
	}
	return "is the transit VNI of VPC " + holder
}

// claimVNI judges the VNI that an object names, and takes it.
func (a *admission) claimVNI(p *put, field string, v VNI) {
	if v == 0 {
		return
	}
	if other, taken := a.draft.vniHolder.get(v); taken {
		a.refuse(p, field, v, vniUse(other), "choose another one, or leave it out")
		return
	}
	a.draft.vniHolder.put(a.draft.edit, v, p.after.Name)
}

// allocateVNI takes the lowest free VNI at or above first that no subnet of the request names; 0 if there is none.
func (a *admission) allocateVNI(p *put, field string, first VNI) VNI {
	d := a.draft
	start := d.vniHolder.rank(first)
	free := firstGap(d.vniHolder.len()-start, func(i int) bool {
		vni, _, _ := d.vniHolder.at(start + i)
		return vni == first+VNI(i)
	})
	vni := first + VNI(free)
	for taken := true; taken; {
		if _, taken = d.vniHolder.get(vni); taken || a.chosen[vni] {
			vni, taken = vni+1, true
		}
	}
	if vni > MaxVNI {
		a.refuse(p, field, nil, "cannot be allocated: all are taken", fmt.Sprintf("choose one below %d", first))
		return 0
	}
	d.vniHolder.put(d.edit, vni, p.after.Name)
	return vni
}
