package openflow

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/overlane/overlane/dataplane/flow"
)

var rewrite = flag.Bool("update", false, "rewrite testdata/messages.txt")

// Every message, as Open vSwitch reads it from the bytes that we write, is as in the golden file.
func TestOVSReadsWhatWeWrite(t *testing.T) {
	const golden = "testdata/messages.txt"
	var got strings.Builder
	for _, m := range messages {
		fmt.Fprintf(&got, "== %T\n%s\n", m, ofpPrint(t, mustAppend(nil, testXID, m)))
	}
	if *rewrite {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("ovs-ofctl reads otherwise (-want +got):\n%s", diff)
	}
}

func ofpPrint(t *testing.T, b []byte) string {
	t.Helper()
	out, err := exec.Command("ovs-ofctl", "ofp-print", hex.EncodeToString(b), "4").CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil || strings.Contains(text, "***decode error") {
		t.Errorf("ovs-ofctl ofp-print %x: %v: %s", b, err, text)
	}
	return text
}

func TestWeReadWhatWeWrite(t *testing.T) {
	for _, m := range messages {
		got, xid, err := Decode(mustAppend(nil, testXID, m))
		if err != nil || xid != testXID {
			t.Errorf("%T: xid %#x, %v", m, xid, err)
			continue
		}
		if diff := compare(m, got); diff != "" {
			t.Errorf("%T (-written +read):\n%s", m, diff)
		}
	}
}

func compare(a, b Message) string {
	return cmp.Diff(a, b, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}),
		cmpopts.IgnoreFields(GroupDesc{}, "Err"), cmpopts.IgnoreFields(MeterDesc{}, "Err"), cmp.AllowUnexported(FlowRequest{}, TablesRequest{}, GroupsRequest{}, MetersRequest{},
			PortsRequest{}, MonitorRequest{}, AggregateRequest{}, request{}), cmp.Comparer(func(a, b *flow.Field) bool { return a == b }))
}

// What a real switch has sent is read without a loss: written again, it reads the same.
func TestWeReadWhatOVSWrites(t *testing.T) {
	for _, b := range fromOVS(t) {
		m, xid, err := Decode(b)
		if err != nil {
			t.Errorf("%x: %v", b, err)
			continue
		}
		if _, ok := m.(Unknown); ok {
			t.Errorf("unknown: %x", b)
		}
		again, _, err := Decode(mustAppend(nil, xid, m))
		if err != nil {
			t.Errorf("%T: %v", m, err)
		}
		if diff := compare(m, again); diff != "" {
			t.Errorf("%T (-read +written and read):\n%s", m, diff)
		}
	}
}

// Connection tracking and checks of lengths in flows that a real switch has sent are, written again, the same bytes.
func TestWeWriteExtensionsAsOVSDoes(t *testing.T) {
	seen := 0
	for _, b := range fromOVS(t) {
		m, _, err := Decode(b)
		reply, ok := m.(FlowReply)
		if err != nil || !ok {
			continue
		}
		for _, f := range reply.Flows {
			actions, err := DecodeInstructions(f.Instructions)
			if err != nil || !extends(actions) {
				continue
			}
			seen++
			if got := instructions(actions); !bytes.Equal(got, f.Instructions) {
				t.Errorf("%v\nwritten as %x\nOVS wrote  %x", actions, got, f.Instructions)
			}
		}
	}
	if seen < 10 {
		t.Errorf("%d flows with connection tracking or checks, want 10", seen)
	}
}

func extends(actions []flow.Action) bool {
	return slices.ContainsFunc(actions, func(a flow.Action) bool {
		_, tracks := a.(flow.CT)
		_, checks := a.(flow.CheckLarger)
		return tracks || checks
	})
}

// fromOVS is the file of messages that were recorded from ovs-vswitchd 3.1, one in a line.
func fromOVS(t testing.TB) [][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/from-ovs.txt")
	if err != nil {
		t.Fatal(err)
	}
	var list [][]byte
	for line := range strings.Lines(string(text)) {
		b, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
	}
	return list
}

// Decode never panics, and what it accepts it can write and read again.
func FuzzDecode(f *testing.F) {
	for _, m := range messages {
		f.Add(mustAppend(nil, testXID, m))
	}
	for _, b := range fromOVS(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, xid, err := Decode(b)
		if err != nil {
			if m != nil || !errors.Is(err, ErrMalformed) {
				t.Fatalf("%T with %v", m, err)
			}
			return
		}
		decodeParts(m)
		written, err := Append(nil, xid, m)
		if err != nil {
			return // the normal form of a match may be longer than what was read
		}
		if _, _, err := Decode(written); err != nil {
			t.Fatalf("%x reads as %#v, which writes as %x: %v", b, m, written, err)
		}
	})
}

// decodeParts reads what Decode leaves as bytes.
func decodeParts(m Message) {
	switch m := m.(type) {
	case FlowReply:
		for _, f := range m.Flows {
			_, _ = DecodeMatch(f.RawMatch)
			_, _ = DecodeInstructions(f.Instructions)
		}
	case MonitorReply:
		for _, u := range m.Updates {
			_, _ = DecodeMatch(u.RawMatch)
		}
	case RequestForward:
		m.Group()
		m.Meter()
	}
}

func TestEveryTruncationIsRefused(t *testing.T) {
	for _, m := range messages {
		whole := mustAppend(nil, testXID, m)
		for n := range whole {
			if _, _, err := Decode(whole[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%T cut to %d of %d bytes: %v", m, n, len(whole), err)
			}
		}
	}
}

// Fields, actions, groups and meters that we do not know spoil only themselves.
func TestTheUnknownIsNamed(t *testing.T) {
	dpHash := []byte{0x00, 0x01, 35 << 1, 4, 0, 0, 0, 5}
	if _, err := DecodeMatch(dpHash); !errors.Is(err, ErrUnknown) {
		t.Errorf("dp_hash: %v", err)
	}
	in := PacketIn{Metadata: match}
	b := mustAppend(nil, 1, in)
	b = bytes.Replace(b, AppendMatch(nil, flow.Match{flow.Eq(flow.InPort, flow.U32(7))}), dpHash, 1)
	if m, _, err := Decode(b); err != nil || len(m.(PacketIn).Metadata) != len(match)-1 {
		t.Errorf("packet in with a dp_hash: %v, %v", m, err)
	}
	popVLAN := []byte{0, 4, 0, 16, 0, 0, 0, 0, 0, 18, 0, 8, 0, 0, 0, 0}
	if _, err := DecodeInstructions(popVLAN); !errors.Is(err, ErrUnknown) {
		t.Errorf("pop_vlan: %v", err)
	}
	for _, line := range strings.Split(unknownReplies, "\n") {
		b, _ := hex.DecodeString(strings.ReplaceAll(line, " ", ""))
		m, _, err := Decode(b)
		switch m := m.(type) {
		case GroupsReply:
			if len(m.Groups) != 1 || m.Groups[0].ID != 7 || !errors.Is(m.Groups[0].Err, ErrUnknown) {
				t.Errorf("%+v", m)
			}
		case MetersReply:
			if len(m.Meters) != 1 || m.Meters[0].ID != 7 || !errors.Is(m.Meters[0].Err, ErrUnknown) {
				t.Errorf("%+v", m)
			}
		default:
			t.Errorf("%s: %T, %v", line, m, err)
		}
	}
}

// A group whose bucket pops a VLAN tag, a meter in kbit/s, and a meter with two bands.
const unknownReplies = "06130038 00000001 0007 0000 00000000 0028 00 00 00000007 0018 000000000000 0018 0008 00000000 0012 0008 00000000 0000000800000000\n" +
	"06130028 00000001 000a 0000 00000000 0018 0001 00000007 0001 0010 00000001 00000000 00000000\n" +
	"06130038 00000001 000a 0000 00000000 0028 0006 00000007 0001 0010 00000001 00000000 00000000 0001 0010 00000002 00000000 00000000"

func TestErrorsAreNamedAsOVSNamesThem(t *testing.T) {
	for typ, names := range errorNames {
		for code := range names {
			e := Error{Type: typ, Code: uint16(code)}
			if got := ofpPrintError(t, e); got != e.Error() {
				t.Errorf("type %d code %d: %s, and to OVS it is %s", typ, code, e.Error(), got)
			}
		}
	}
	for code := range niciraErrorNames {
		e := Error{Type: 0xffff, Code: code, Data: []byte{0, 0, 0x23, 0x20}}
		if got := ofpPrintError(t, e); got != e.Error() {
			t.Errorf("Nicira code %d: %s, and to OVS it is %s", code, e.Error(), got)
		}
	}
}

func ofpPrintError(t *testing.T, e Error) string {
	t.Helper()
	text, _, _ := strings.Cut(ofpPrint(t, mustAppend(nil, 0, e)), "\n")
	return strings.TrimPrefix(text, "OFPT_ERROR (OF1.5) (xid=0x0): ")
}

func TestAppendRefusesWhatHasNoForm(t *testing.T) {
	for want, m := range map[string]Message{
		"goto is possible only": FlowMod{Actions: []flow.Action{flow.Goto{Table: 1}, flow.DecTTL{}}},
		"bytes are more than":   PacketOut{Frame: make([]byte, MaxLen)},
	} {
		b, err := Append([]byte("before"), 1, m)
		if err == nil || !strings.Contains(err.Error(), want) || string(b) != "before" {
			t.Errorf("%T: %q, %v, want %q", m, b, err, want)
		}
	}
}
