package capture

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Writer writes pcapng (draft-ietf-opsawg-pcapng): an interface description for each interface, and names as comments
// of packets. Names are not written as name resolution blocks, because an address has a different name in every
// segment.
type Writer struct {
	names      Names
	ng         *pcapgo.NgWriter
	interfaces map[string]int // number in the file
	out        io.Writer
	began      time.Time
}

// NewWriter writes to out.
func NewWriter(out io.Writer, names Names) *Writer {
	return &Writer{names: names, interfaces: map[string]int{}, out: out, began: time.Now()}
}

// Write appends a packet.
func (w *Writer) Write(p Packet, f *Frame) error {
	number, err := w.number(p.Interface)
	if err != nil {
		return fmt.Errorf("write pcapng: %w", err)
	}
	info := gopacket.CaptureInfo{Timestamp: p.Time, CaptureLength: len(p.Data), Length: p.Length, InterfaceIndex: number}
	comments := p.Comments
	if c := w.names.comment(f); c != "" {
		comments = append(comments[:len(comments):len(comments)], c)
	}
	if err := w.ng.WritePacketWithOptions(info, p.Data, pcapgo.NgPacketOptions{Comments: comments}); err != nil {
		return fmt.Errorf("write pcapng: %w", err)
	}
	return nil
}

// Flush writes the buffered packets.
func (w *Writer) Flush() error {
	if w.ng == nil {
		return nil
	}
	return w.ng.Flush()
}

// Close writes the statistics and flushes. A capture without packets is a file that opens, with one interface.
func (w *Writer) Close(s Stats) error {
	if w.ng == nil {
		if _, err := w.number(interfaceName(AllInterfaces)); err != nil {
			return fmt.Errorf("write pcapng: %w", err)
		}
	}
	err := w.ng.WriteInterfaceStats(0, pcapgo.NgInterfaceStatistics{
		LastUpdate: time.Now(), StartTime: w.began, EndTime: time.Now(),
		PacketsReceived: uint64(s.Seen), PacketsDropped: uint64(s.Dropped),
	})
	if err == nil {
		err = w.ng.Flush()
	}
	if err != nil {
		return fmt.Errorf("write pcapng: %w", err)
	}
	return nil
}

// number finds the interface's number in the file, and describes it there at its first packet.
func (w *Writer) number(name string) (number int, err error) {
	if number, ok := w.interfaces[name]; ok {
		return number, nil
	}
	description := pcapgo.NgInterface{Name: name, OS: runtime.GOOS, LinkType: layers.LinkTypeEthernet, TimestampResolution: 9, SnapLength: maxPacket}
	if w.ng == nil {
		w.ng, err = pcapgo.NewNgWriterInterface(w.out, description, pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{
			Hardware: runtime.GOARCH, OS: runtime.GOOS, Application: "overlane capture"}})
	} else {
		number, err = w.ng.AddInterface(description)
	}
	if err == nil {
		w.interfaces[name] = number
	}
	return number, err
}

// comment is a tunnel packet's names: "host1 > host2, blue/web, blue/web/web1 > blue/web/db1".
func (n Names) comment(f *Frame) string {
	vni, tunnel := f.VNI()
	if !tunnel || !n.Known() {
		return ""
	}
	var parts []string
	pair := func(src, dst string) {
		if src+dst != "" {
			parts = append(parts, or(src)+" > "+or(dst))
		}
	}
	outerSrc, outerDst := f.Outer.addresses()
	innerSrc, innerDst := f.Inner.addresses()
	pair(n.Host(outerSrc), n.Host(outerDst))
	if subnet := n.Subnet(vni); subnet != "" {
		parts = append(parts, subnet)
	}
	pair(n.Address(vni, innerSrc), n.Address(vni, innerDst))
	return strings.Join(parts, ", ")
}

func or(name string) string {
	if name == "" {
		return "?"
	}
	return name
}
