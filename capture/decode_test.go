package capture

import (
	"strings"
	"testing"
	"unicode"

	"github.com/overlane/overlane/internal/printable"
)

// Whatever is on the wire, decoding ends, and the text is safe for a terminal: printable lines, and as many as there
// are layers.
func FuzzDecode(f *testing.F) {
	for _, n := range frames(f) {
		f.Add(n.data, uint16(0))
		f.Add(n.data, uint16(3))
	}
	names := NewNames(testView)
	f.Fuzz(func(t *testing.T, data []byte, missing uint16) {
		p := named{"", data}.packet()
		p.Length += int(missing)
		frame := Decode(p, DefaultPort)
		printer := Printer{Names: names, Segment: 100}
		safe(t, printer.Line(p, &frame))
		for line := range strings.Lines(printer.Nested(1, p, &frame)) {
			safe(t, strings.TrimSuffix(line, "\n"))
		}
		if filter, err := names.Filter(Want{Endpoint: "blue/web/db1"}); err != nil || filter.Match(&frame) && len(data) < 14 {
			t.Errorf("matched %x: %v", data, err)
		}
		if comment := names.comment(&frame); comment != printable.Escape(comment) {
			t.Errorf("comment %q", comment)
		}
	})
}

func safe(t *testing.T, line string) {
	t.Helper()
	if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("not for terminals: %q", line)
	}
}

// Every packet that is cut anywhere says so, or has lost only padding.
func TestEveryCutIsNoticed(t *testing.T) {
	whole := frames(t)[0]
	for n := range len(whole.data) {
		p := whole.packet()
		p.Data = p.Data[:n]
		f := Decode(p, DefaultPort)
		if problem := f.Outer.Problem + f.Inner.Problem; !strings.HasPrefix(problem, "truncated: ") {
			t.Errorf("%d of %d bytes: problem %q", n, len(whole.data), problem)
		}
	}
}

func TestAnotherUDPPort(t *testing.T) {
	for _, port := range []uint16{DefaultPort, 8472} {
		f := Decode(frames(t)[0].packet(), port)
		if _, tunnel := f.VNI(); tunnel != (port == DefaultPort) {
			t.Errorf("port %d: tunnel %v", port, tunnel)
		}
	}
}
