package view

import (
	"cmp"
	"net/netip"

	"github.com/overlane/overlane/model"
)

// Block is a block of ports of a public address, which the endpoints of one VPC on one host share in the central
// design.
type Block struct {
	BlockKey
	Last uint16    `json:"last"` // port; the length is a power of two, and First a multiple of the length
	Name string    `json:"name"` // VPC/HOST
	VPC  model.VNI `json:"vpc"`  // transit VNI
	Host string    `json:"host"`
}

// BlockKey identifies a block. Blocks of one address do not overlap.
type BlockKey struct {
	Address netip.Addr `json:"address"`
	First   uint16     `json:"first"` // port
}

// Key is the address and the first port.
func (b Block) Key() BlockKey { return b.BlockKey }

// Compare orders blocks by address and first port.
func (k BlockKey) Compare(other BlockKey) int {
	return cmp.Or(k.Address.Compare(other.Address), cmp.Compare(k.First, other.First))
}

var blocks = kind[BlockKey, Block]{
	table:   func(v *View) *Table[BlockKey, Block] { return &v.Blocks },
	changes: func(d *Delta) (*[]Block, *[]BlockKey) { return &d.Blocks, &d.GoneBlocks },
	compare: BlockKey.Compare,
	equal:   equals[Block],
	receive: func(v *View, b *Block) { b.Host = v.hostName(b.Host) },
	track: func(_ *Tracker, k *kind[BlockKey, Block]) source {
		return &shared[BlockKey, Block]{scoped[BlockKey, Block]{kind: k, object: "PortBlock", make: (*Tracker).block,
			sees: func(v visibility, viewer string, b Block) bool { return v.sees(viewer, b.Host) }}}
	},
}

func (t *Tracker) block(name string) (Block, bool) {
	spec := t.state.PortBlock(name)
	if spec == nil {
		return Block{}, false
	}
	vpc := model.Parent(name)
	g, _ := t.gateway(vpc)
	return Block{BlockKey: BlockKey{spec.Address, spec.First}, Last: spec.Last, Name: name, VPC: g.VPC,
		Host: model.HostOf(name)}, true
}
