package capture

import (
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/net/bpf"

	"github.com/overlane/overlane/model"
)

// The kernel's filter passes what our decoder takes for a tunnel packet of a wanted VNI, and nothing else.
func FuzzKernelFilterAgreesWithDecoder(f *testing.F) {
	for _, n := range frames(f) {
		f.Add(n.data)
	}
	many := make([]model.VNI, maxBPFVNIs)
	for i := range many {
		many[i] = model.VNI(i + 1)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		frame := Decode(named{"", data}.packet(), DefaultPort)
		vni, tunnel := frame.VNI()
		if !tunnel && frame.Outer.Problem != "" || hasLayer(&frame.Outer, layers.LayerTypeDot1Q, layers.LayerTypeIPv6) {
			return // a packet that is broken may pass; the kernel has removed VLAN tags
		}
		for _, vnis := range [][]model.VNI{nil, {100}, {200, 100, 300}, many} {
			want := tunnel && (vnis == nil || slices.Contains(vnis, vni))
			if got := passes(t, data, vnis); got != want {
				t.Errorf("VNIs %v: filter passes %v, decoder says tunnel %v of VNI %d: %x", vnis, got, tunnel, vni, data)
			}
		}
	})
}

func hasLayer(s *Stack, types ...gopacket.LayerType) bool {
	return slices.ContainsFunc(s.Layers, func(l gopacket.Layer) bool { return slices.Contains(types, l.LayerType()) })
}

func passes(t *testing.T, data []byte, vnis []model.VNI) bool {
	t.Helper()
	vm, err := bpf.NewVM(kernelProgram(DefaultPort, vnis))
	if err != nil {
		t.Fatal(err)
	}
	n, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// More VNIs than jumps can span: the kernel then passes all, and the program sorts them out.
func TestManyVNIs(t *testing.T) {
	vnis := make([]model.VNI, 1000)
	for i := range vnis {
		vnis[i] = model.VNI(i + 1000)
	}
	if _, err := kernelFilter(DefaultPort, vnis); err != nil {
		t.Fatal(err)
	}
	if !passes(t, frames(t)[0].data, vnis) {
		t.Error("a tunnel packet does not pass")
	}
}
