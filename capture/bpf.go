package capture

import (
	"fmt"
	"slices"

	"golang.org/x/net/bpf"

	"github.com/overlane/overlane/model"
)

// The kernel drops every packet that is no tunnel packet over IPv4 before it costs anything. Offsets are from the
// Ethernet header; the kernel has taken a VLAN tag out of the frame before the filter sees it.
const (
	offEtherType = 12
	offIP        = 14
	offFragment  = offIP + 6
	offProtocol  = offIP + 9
	offUDPPort   = offIP + 2     // plus the length of the IP header
	offVNI       = offIP + 8 + 4 // plus the length of the IP header

	etherIPv4    = 0x0800
	protocolUDP  = 17
	fragmentMask = 0x3fff // offset, or more to come: neither is decoded

	maxBPFVNIs = 200 // a jump spans 255 instructions
	wholeFrame = 1 << 18
)

// kernelFilter accepts tunnel packets to a UDP port, of any of the VNIs (of all without one, and if they are many).
func kernelFilter(port uint16, vnis []model.VNI) ([]bpf.RawInstruction, error) {
	program, err := bpf.Assemble(kernelProgram(port, vnis))
	if err != nil {
		return nil, fmt.Errorf("assemble packet filter: %w", err)
	}
	return program, nil
}

func kernelProgram(port uint16, vnis []model.VNI) []bpf.Instruction {
	if len(vnis) > maxBPFVNIs {
		vnis = nil
	}
	program := slices.Concat(
		keep(bpf.LoadAbsolute{Off: offEtherType, Size: 2}, bpf.JumpEqual, etherIPv4),
		keep(bpf.LoadAbsolute{Off: offProtocol, Size: 1}, bpf.JumpEqual, protocolUDP),
		keep(bpf.LoadAbsolute{Off: offFragment, Size: 2}, bpf.JumpBitsNotSet, fragmentMask),
		[]bpf.Instruction{bpf.LoadMemShift{Off: offIP}},
		keep(bpf.LoadIndirect{Off: offUDPPort, Size: 2}, bpf.JumpEqual, uint32(port)),
	)
	if len(vnis) > 0 {
		program = append(program, bpf.LoadIndirect{Off: offVNI, Size: 4}, bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 8})
		for i, vni := range vnis {
			program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(vni), SkipTrue: uint8(len(vnis) - i)})
		}
		program = append(program, bpf.RetConstant{Val: 0})
	}
	return append(program, bpf.RetConstant{Val: wholeFrame})
}

// keep drops the packet unless the loaded value passes the test.
func keep(load bpf.Instruction, test bpf.JumpTest, value uint32) []bpf.Instruction {
	return []bpf.Instruction{load, bpf.JumpIf{Cond: test, Val: value, SkipTrue: 1}, bpf.RetConstant{Val: 0}}
}
