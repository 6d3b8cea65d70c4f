package flow

import (
	"encoding/binary"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// A copy from each field to reg0, as bytes, is read by ovs-ofctl as a move from the name that we expect.
func TestFieldNumbersAgreeWithOVS(t *testing.T) {
	var in, want strings.Builder
	for _, f := range Fields {
		width := f.Bits
		if f == VLANVID { // an action sees it without the "present" bit
			width = 12
		}
		bits := min(width, 32)
		fmt.Fprintf(&in, "%x\n", copyToReg0(f, bits))
		fmt.Fprintf(&want, "actions=move:%s->%s\n", slice(f.NXM, bits, width), slice(Reg0.NXM, bits, 32))
	}
	cmd := exec.Command("ovs-ofctl", "parse-actions", "OpenFlow15")
	cmd.Stdin = strings.NewReader(in.String())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ovs-ofctl parse-actions: %v\n%s", err, out)
	}
	if got := withoutComments(string(out)); got != want.String() {
		t.Errorf("ovs-ofctl reads\n%s\nwant\n%s", got, want.String())
	}
}

func TestFieldsAreUnique(t *testing.T) {
	names, numbers := map[string]bool{}, map[string]bool{}
	for _, f := range Fields {
		number := fmt.Sprintf("%#x/%d", f.Class, f.ID)
		if names[f.Name] || numbers[number] {
			t.Errorf("%s (%s) is listed twice", f.Name, number)
		}
		names[f.Name], numbers[number] = true, true
		if got, ok := FieldByName(f.Name); !ok || got != f {
			t.Errorf("FieldByName(%q) = %v", f.Name, got)
		}
	}
}

// copyToReg0 is OFPAT_COPY_FIELD (OpenFlow 1.5.1 section 7.2.6.11).
func copyToReg0(f *Field, bits int) []byte {
	b := make([]byte, 24)
	binary.BigEndian.PutUint16(b[0:], 28)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[4:], uint16(bits))
	binary.BigEndian.PutUint32(b[12:], header(f))
	binary.BigEndian.PutUint32(b[16:], header(Reg0))
	return b
}

func header(f *Field) uint32 {
	return uint32(f.Class)<<16 | uint32(f.ID)<<9 | uint32(f.Bytes())
}

func slice(name string, bits, width int) string {
	switch bits {
	case width:
		return name + "[]"
	case 1:
		return name + "[0]"
	}
	return fmt.Sprintf("%s[0..%d]", name, bits-1)
}

func withoutComments(s string) string {
	var keep strings.Builder
	for line := range strings.Lines(s) {
		if line != "\n" && !strings.HasPrefix(line, "#") {
			keep.WriteString(line)
		}
	}
	return keep.String()
}
