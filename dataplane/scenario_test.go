package dataplane_test

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/dataplane/flow/flowtest"
	"github.com/overlane/overlane/dataplane/flow/sim"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// A scenario is an intent, the flows and groups of each host beyond those of the pipeline (pipeline.txt), and packets
// with their stories. Registers, groups, meters and ports are printed by their names. The packets' section is a line
// for each:
//
//	SENDER arp TARGET [from ADDRESS] [mac MAC] [sha MAC]
//	SENDER ping TARGET [from ADDRESS] [mac MAC] [to-mac MAC] [ttl N]
//	SENDER udp TARGET [the same] [ports SOURCE-DESTINATION]
//	SENDER tcp TARGET [the same] [flags syn|syn-ack|ack]
//
// All but arp may be of so many bytes of payload: [payload N].
//
// SENDER is an endpoint, HOST<VTEP/VNI for a tunnel packet that HOST gets from an outer source under a VNI, HOST< for
// what comes from outside by the host's kernel, HOST<underlay for what comes from the underlay by it, or HOST<upstream.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { runScenario(t, file) })
	}
}

func runScenario(t *testing.T, path string) {
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	archive := txtar.Parse(have)
	n := newNetwork(t, section(archive, "intent.yaml"))
	want := &txtar.Archive{Comment: archive.Comment}
	add := func(name, data string) {
		want.Files = append(want.Files, txtar.File{Name: name, Data: []byte(data)})
	}
	add("intent.yaml", string(section(archive, "intent.yaml")))
	for _, host := range slices.Sorted(maps.Keys(n.hosts)) {
		add("flows "+host, n.hosts[host].text(t))
	}
	add("packets", string(section(archive, "packets")))
	var stories strings.Builder
	for line := range strings.Lines(string(section(archive, "packets"))) {
		fmt.Fprintf(&stories, "# %s", line)
		stories.WriteString(n.send(t, strings.Fields(line)) + "\n")
	}
	add("stories", stories.String())
	if *update {
		if err := os.WriteFile(path, txtar.Format(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(txtar.Format(want)), string(have)); diff != "" {
		t.Errorf("go test ./dataplane -update rewrites it (-now +written down):\n%s", diff)
	}
}

func section(a *txtar.Archive, name string) []byte {
	for _, f := range a.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// network is all hosts of a scenario. Endpoints get the ports 10, 11, ... of their host, in the order of their
// addresses.
type network struct {
	state *model.State
	hosts map[string]*host
}

type host struct {
	view    view.View
	wiring  dataplane.Wiring
	entries dataplane.Entries
	symbols flow.Symbols
	sim     *sim.Switch
}

// Beside the endpoints' ports there are those of the way outside, from 2 on, and those of watched tunnels, from 100 on.
const tunnelPort, outsidePort, externalPort, underlayPort, firstEdgePort, firstWatchedPort = 1, 2, 3, 4, 50, 100

var fixedPorts = map[uint32]string{tunnelPort: "tunnel", outsidePort: "outside", externalPort: "upstream",
	underlayPort: "underlay"}

func newNetwork(t *testing.T, intent []byte) *network {
	objects, err := model.DecodeYAML(intent, "intent.yaml")
	if err != nil {
		t.Fatal(err)
	}
	changes, err := model.Admit(model.NewState(), model.Request{Put: objects})
	if err != nil {
		t.Fatal(err)
	}
	n := &network{state: model.NewState().With(1, changes), hosts: map[string]*host{}}
	for o := range n.state.List("Host") {
		n.hosts[o.Name] = newHost(view.New(n.state, o.Name))
	}
	return n
}

func newHost(v view.View) *host {
	h := &host{view: v, wiring: dataplane.Wiring{TunnelPort: tunnelPort, Ports: map[view.AddressKey]uint32{}}}
	ports := maps.Clone(fixedPorts)
	of := map[string]uint32{} // endpoint
	for _, a := range v.Delta(0).Addresses {
		if a.Host == v.Host && a.Via() == "" {
			port := uint32(10 + len(of))
			h.wiring.Ports[a.AddressKey], of[a.Endpoint], ports[port] = port, port, a.Endpoint
		}
	}
	for _, a := range v.Addresses {
		if a.Host == v.Host && a.Via() != "" {
			h.wiring.Ports[a.AddressKey] = of[a.Via()]
		}
	}
	h.wireOutside(ports)
	h.entries = dataplane.Compile(&h.view, h.wiring)
	h.symbols = dataplane.Symbols(h.entries.Groups)
	h.symbols.Ports = ports
	h.sim = sim.New(sim.Config{Flows: h.entries.Flows, Groups: h.entries.Groups, Symbols: h.symbols, Ports: ports})
	return h
}

// wireOutside plugs in what the view's gateways need.
func (h *host) wireOutside(ports map[uint32]string) {
	v, w := h.view, &h.wiring
	w.VPCZones, w.Translations, w.BFDPorts, w.EdgePorts = map[model.VNI]uint16{}, map[model.VNI]netip.Addr{}, map[string]uint32{}, map[string]uint32{}
	for _, s := range v.Segments {
		g, ok := v.Gateways[s.VPC]
		if !ok {
			continue
		}
		n := int(s.VPC - model.FirstTransitVNI)
		w.VPCZones[s.VPC], w.Translations[s.VPC] = uint16(100+n), model.Nth(netip.MustParsePrefix("100.64.0.0/10"),
			16+n)
		if g.SNAT || g.Design == model.Distributed && len(g.BorderHosts) > 0 {
			w.SNATPort = outsidePort
		}
	}
	for _, m := range v.Hosts {
		w.Guarded = append(w.Guarded, m.VTEP)
	}
	slices.SortFunc(w.Guarded, netip.Addr.Compare)
	for _, host := range slices.Sorted(maps.Keys(v.Peers)) {
		if v.Peers[host].BFD {
			w.BFDPorts[host] = firstWatchedPort + uint32(len(w.BFDPorts))
			ports[w.BFDPorts[host]] = "tunnel-" + host
		}
	}
	for _, g := range v.Gateways {
		for _, edge := range g.BorderHosts {
			if g.Design == model.Distributed && edge != v.Host && w.EdgePorts[edge] == 0 {
				w.EdgePorts[edge] = firstEdgePort + uint32(len(w.EdgePorts))
				ports[w.EdgePorts[edge]] = "edge-" + edge
			}
		}
		if slices.Contains(g.BorderHosts, v.Host) {
			w.UpstreamPort = externalPort
			w.UnderlayPort = underlayPort
			w.Router = model.MAC{2, 0xbd, 0, 0, 0, 9}
		}
	}
}

// text checks what it prints.
func (h *host) text(t *testing.T) string {
	if err := flow.Soundness(h.entries.Flows, h.entries.Groups, dataplane.Names()); err != nil {
		t.Errorf("%s: %v", h.view.Host, err)
	}
	flowtest.ParseWithOVS(t, h.entries.Flows)
	var b strings.Builder
	flows := slices.Clone(h.entries.Flows)
	flow.Sort(flows)
	pipeline := h.pipeline(t)
	for _, f := range flows {
		if line := h.symbols.Flow(f) + "  # " + f.Owner; !pipeline[line] {
			b.WriteString(line + "\n")
		}
	}
	for _, g := range h.entries.Groups {
		b.WriteString(h.symbols.Group(g) + "\n")
	}
	return b.String()
}

// send follows a packet from switch to switch.
func (n *network) send(t *testing.T, words []string) string {
	at, packet := n.packet(t, words)
	var story strings.Builder
	n.walk(&story, at, packet, 0)
	return story.String()
}

func (n *network) walk(story *strings.Builder, at string, p sim.Packet, hops int) {
	h := n.hosts[at]
	result := h.sim.Send(p)
	fmt.Fprintf(story, "%s:\n%s\n", at, indent(result.String()))
	for _, out := range result.Outputs {
		if out.Port != tunnelPort {
			continue
		}
		if hops > 2 {
			story.WriteString("  and so on: a loop\n")
			return
		}
		for name, peer := range n.hosts {
			if peer.view.VTEP == out.Tunnel.Dst {
				arrived := out.Tunnel
				arrived.Src = h.view.VTEP
				n.walk(story, name, sim.Packet{InPort: tunnelPort, Frame: out.Frame, Tunnel: arrived}, hops+1)
			}
		}
	}
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ")
}

func (n *network) packet(t *testing.T, words []string) (at string, p sim.Packet) {
	t.Helper()
	sender, what, target := words[0], words[1], netip.MustParseAddr(words[2])
	src := view.Address{MAC: model.MAC{2, 0xbd, 0, 0, 0, 1}}
	if hostName, tunnel, ok := strings.Cut(sender, "<"); ok {
		if at = hostName; tunnel == "" {
			p.InPort = outsidePort
			p.Frame = frame(t, n, src, what, target, optionsOf(words))
			return at, p
		}
		if in, ok := map[string]uint32{"upstream": externalPort, "underlay": underlayPort}[tunnel]; ok {
			p.InPort = in
			p.Frame = frame(t, n, src, what, target, optionsOf(words))
			return at, p
		}
		outer, vni, _ := strings.Cut(tunnel, "/")
		number, err := strconv.ParseUint(vni, 10, 24)
		if err != nil {
			t.Fatal(err)
		}
		at, p.InPort, src.VNI = hostName, tunnelPort, model.VNI(number)
		p.Tunnel = sim.Tunnel{ID: number, Src: netip.MustParseAddr(outer), Dst: n.hosts[at].view.VTEP}
	} else {
		at, src, p.InPort = n.find(t, sender)
	}
	p.Frame = frame(t, n, src, what, target, optionsOf(words))
	return at, p
}

func optionsOf(words []string) map[string]string {
	options := map[string]string{}
	for i := 3; i+1 < len(words); i += 2 {
		options[words[i]] = words[i+1]
	}
	return options
}

func (n *network) find(t *testing.T, endpoint string) (string, view.Address, uint32) {
	t.Helper()
	for name, h := range n.hosts {
		for key, port := range h.wiring.Ports {
			if a := h.view.Addresses[key]; a.Endpoint == endpoint {
				return name, a, port
			}
		}
	}
	t.Fatalf("no endpoint %s in the intent", endpoint)
	return "", view.Address{}, 0
}

func frame(t *testing.T, n *network, src view.Address, what string, target netip.Addr,
	options map[string]string) []byte {
	t.Helper()
	mac := func(option string, otherwise net.HardwareAddr) net.HardwareAddr {
		if s, ok := options[option]; ok {
			m, err := net.ParseMAC(s)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		return otherwise
	}
	from := src.IP
	if s, ok := options["from"]; ok {
		from = netip.MustParseAddr(s)
	}
	broadcast := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	eth := &layers.Ethernet{SrcMAC: mac("mac", net.HardwareAddr(src.MAC[:])), DstMAC: mac("to-mac", broadcast)}
	var rest []gopacket.SerializableLayer
	switch what {
	case "arp":
		eth.EthernetType = layers.EthernetTypeARP
		rest = append(rest, &layers.ARP{AddrType: 1, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6,
			ProtAddressSize: 4, Operation: 1,
			SourceHwAddress: mac("sha", eth.SrcMAC), SourceProtAddress: from.AsSlice(), DstHwAddress: make([]byte, 6),
			DstProtAddress: target.AsSlice()})
	case "ping", "udp", "tcp":
		eth.EthernetType = layers.EthernetTypeIPv4
		if _, given := options["to-mac"]; !given && !target.IsMulticast() && !strings.HasSuffix(target.String(),
			".255") {
			eth.DstMAC = n.nextHop(view.AddressKey{VNI: src.VNI, IP: target})
		}
		ip := &layers.IPv4{Version: 4, TTL: ttl(t, options), Protocol: layers.IPProtocolICMPv4, SrcIP: from.AsSlice(),
			DstIP: target.AsSlice()}
		if what != "ping" {
			rest = append(rest, ip, portProtocols(t, ip, what, options), payload(t, "payload", options))
			break
		}
		rest = append(rest, ip, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 1, Seq: 1},
			payload(t, "oooooooo", options))
	default:
		t.Fatalf("no such packet: %s", what)
	}
	buffer := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		append([]gopacket.SerializableLayer{eth}, rest...)...)
	if err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func payload(t *testing.T, otherwise string, options map[string]string) gopacket.Payload {
	t.Helper()
	text, given := options["payload"]
	if !given {
		return gopacket.Payload(otherwise)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Repeat([]byte{'o'}, n)
}

// ported is the header of a protocol that has ports, and sets that of IP right.
func portProtocols(t *testing.T, ip *layers.IPv4, what string, options map[string]string) gopacket.SerializableLayer {
	t.Helper()
	src, dst := uint16(4000), uint16(9)
	if text, given := options["ports"]; given {
		if _, err := fmt.Sscanf(text, "%d-%d", &src, &dst); err != nil {
			t.Fatal(err)
		}
	}
	udp, tcp := &layers.UDP{SrcPort: layers.UDPPort(src),
		DstPort: layers.UDPPort(dst)}, &layers.TCP{SrcPort: layers.TCPPort(src), DstPort: layers.TCPPort(dst),
		Window: 1024}
	flags := options["flags"]
	tcp.SYN, tcp.ACK = flags != "ack", strings.HasSuffix(flags, "ack")
	ip.Protocol = layers.IPProtocolUDP
	if what == "tcp" {
		ip.Protocol = layers.IPProtocolTCP
	}
	for _, layer := range []interface {
		SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
	}{udp, tcp} {
		if err := layer.SetNetworkLayerForChecksum(ip); err != nil {
			t.Fatal(err)
		}
	}
	if what == "tcp" {
		return tcp
	}
	return udp
}

func ttl(t *testing.T, options map[string]string) uint8 {
	t.Helper()
	text, given := options["ttl"]
	if !given {
		return 64
	}
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil {
		t.Fatal(err)
	}
	return uint8(n)
}

// nextHop is the MAC of the address, if the segment has it, else the gateway's.
func (n *network) nextHop(key view.AddressKey) net.HardwareAddr {
	for _, h := range n.hosts {
		if a, ok := h.view.Addresses[key]; ok {
			return net.HardwareAddr(a.MAC[:])
		}
	}
	return net.HardwareAddr(model.GatewayMAC[:])
}
