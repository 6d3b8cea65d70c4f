package ovs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/overlane/overlane/ovs/vswitch"
)

// Overlane's rows in the database have this key in external_ids; its value is their role. Rows without it are never
// changed.
const (
	mark         = "overlane"
	markBridge   = "bridge"
	markTunnel   = "tunnel"
	markEndpoint = "endpoint"
	markUplink   = "uplink"
	markPort     = "port"
)

// Datapath types of a bridge (ovs-vswitchd.conf.db(5), Bridge table).
const (
	Kernel    = "system"
	Userspace = "netdev"
)

// Layout is the wanted configuration of Open vSwitch, except for the ports of endpoints.
type Layout struct {
	Bridge   string           // of integration
	Tunnel   string           // name of the VXLAN port
	VTEP     netip.Addr       // local_ip of tunnels
	UDPPort  uint16           // of VXLAN; 0 is 4789
	Datapath string           // Kernel, Userspace, or empty: see Ensure
	Tables   map[uint8]string // names of flow tables
	Ports    []BridgePort     // more ports of Overlane's own
	Keep     bool             // keep existing ports that are not in Ports
}

// State is the configuration after [DB.Ensure].
type State struct {
	Datapath     string // Kernel or Userspace
	TunnelOFPort uint32
	Ports        map[string]uint32 // OpenFlow numbers of the layout's ports that ovs-vswitchd has made, by name
	PortError    error             // of the first port that it could not make
	Repaired     []string          // differences that were repaired, one line each; empty at the first call
}

// tunnelOFPort is requested at creation, so that the number is the same on every host.
const tunnelOFPort = 1

// vxlanPort is IANA's (RFC 7348 section 5).
const vxlanPort = 4789

// protocols are ours and those of "ovs-ofctl" without options, so that people's commands work.
var protocols = []vswitch.BridgeProtocols{
	vswitch.BridgeProtocolsOpenflow10, vswitch.BridgeProtocolsOpenflow13, vswitch.BridgeProtocolsOpenflow14, vswitch.BridgeProtocolsOpenflow15,
}

// Ensure changes the database to match the layout, in one transaction, and returns when ovs-vswitchd has applied it. If
// nothing differs it only reads the local copy, so it may be called at every change. It fails if a bridge or port of
// one of the names exists that Overlane has not made, and never changes that one.
//
// With no datapath asked for, a bridge keeps the one it has if the machine still can do it; a new one gets the kernel's
// where the openvswitch module is, and the userspace one elsewhere.
func (db *DB) Ensure(ctx context.Context, l Layout) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	db.ensuring.Lock()
	defer db.ensuring.Unlock()
	s, err := db.ensure(ctx, l)
	if err != nil {
		return s, fmt.Errorf("ensure bridge %s: %w", l.Bridge, err)
	}
	return s, nil
}

func (db *DB) ensure(ctx context.Context, l Layout) (State, error) {
	t, err := db.begin()
	if err != nil {
		return State{}, err
	}
	r := db.rows()
	if err := r.foreign(l); err != nil {
		return State{}, err
	}
	l.Datapath, err = chooseDatapath(l.Datapath, r.bridge(l.Bridge))
	if err != nil {
		return State{}, err
	}
	defer t.release()
	s := State{Datapath: l.Datapath}
	first := r.bridge(l.Bridge) == nil && db.bridge.Load() == nil
	changes := r.compare(l)
	for _, c := range changes {
		c.do(t)
		if !first {
			s.Repaired = append(s.Repaired, c.what)
		}
	}
	apply := len(changes) > 0 || portOf(r.iface(l.Tunnel)).Err != "" // the cause may be gone: ovs-vswitchd must try again
	if apply {
		if err := t.apply(ctx); err != nil {
			return s, err
		}
	}
	db.bridge.Store(&l.Bridge)
	s.TunnelOFPort, err = db.tunnel(ctx, l, apply)
	s.Ports, s.PortError = db.rows().portNumbers(l)
	return s, err
}

// tunnel gives the tunnel port's number, once ovs-vswitchd has assigned one. If ovs-vswitchd has applied the
// configuration without assigning one, it never will.
func (db *DB) tunnel(ctx context.Context, l Layout, hadItsChance bool) (uint32, error) {
	var p Port
	err := db.await(ctx, "tunnel port "+l.Tunnel, func() bool {
		p = portOf(db.rows().iface(l.Tunnel))
		return p.OFPort != 0 || p.Err != "" || hadItsChance
	})
	switch {
	case err != nil:
		return 0, err
	case strings.Contains(p.Err, "Address already in use"):
		return 0, fmt.Errorf("tunnel port %s: UDP port %s is in use, by another VXLAN perhaps (Docker Swarm's?); choose another: %s",
			l.Tunnel, tunnelOptions(l)["dst_port"], p.Err)
	case p.Err != "":
		return 0, fmt.Errorf("tunnel port %s: %s", l.Tunnel, p.Err)
	case p.OFPort == 0:
		return 0, fmt.Errorf("ovs-vswitchd could not make the bridge on datapath %s; its log says why", l.Datapath)
	}
	return p.OFPort, nil
}

// foreign refuses names that bridges or ports of others have.
func (r rows) foreign(l Layout) error {
	b := r.bridge(l.Bridge)
	if b != nil && b.ExternalIDs[mark] != markBridge {
		return fmt.Errorf("a bridge of this name exists that Overlane has not made (no external_ids:%s=%s); remove it, or choose another name", mark, markBridge)
	}
	if b == nil && r.port(l.Bridge) != nil {
		return errors.New("a port of this name exists that Overlane has not made; remove it, or choose another name")
	}
	if err := r.foreignPorts(l); err != nil {
		return err
	}
	p := r.port(l.Tunnel)
	if p == nil {
		return nil
	}
	if p.ExternalIDs[mark] != markTunnel {
		return fmt.Errorf("a port %s exists that Overlane has not made (no external_ids:%s=%s); remove it", l.Tunnel, mark, markTunnel)
	}
	if on := r.bridgeOf(l.Tunnel); on != nil && on.Name != l.Bridge {
		return fmt.Errorf("the tunnel port %s is on bridge %s, which Overlane used before; remove that bridge", l.Tunnel, on.Name)
	}
	return nil
}

// chooseDatapath follows the rule of [DB.Ensure].
func chooseDatapath(asked string, b *vswitch.Bridge) (string, error) {
	switch {
	case asked == Kernel || asked == Userspace:
		return asked, nil
	case asked != "":
		return "", fmt.Errorf("datapath %q: want %s (the kernel's), %s (userspace) or nothing", asked, Kernel, Userspace)
	case b != nil && b.DatapathType == Userspace:
		return Userspace, nil
	case kernelDatapath():
		return Kernel, nil
	}
	return Userspace, nil
}

// kernelDatapath asks the kernel for the datapath's netlink family, which loads the module where it is installed. Open
// vSwitch itself is of no help: the column datapath_types holds "system" on every Linux.
func kernelDatapath() bool {
	_, err := netlink.GenlFamilyGet("ovs_datapath")
	return err == nil
}

// change is one thing to do to the database.
type change struct {
	what string // was wrong
	do   func(*transaction)
}

// compare gives the changes that make the database match the layout.
func (r rows) compare(l Layout) []change {
	b := r.bridge(l.Bridge)
	if b == nil {
		return []change{{"bridge " + l.Bridge + " was missing", func(t *transaction) { t.createBridge(l) }}}
	}
	changes := compareBridge(b, l)
	if !maps.Equal(r.tableNames(b), l.Tables) {
		changes = append(changes, change{"names of flow tables differed", func(t *transaction) {
			row := &vswitch.Bridge{UUID: b.UUID, FlowTables: t.createTables(l.Tables)}
			t.update(row, &row.FlowTables)
		}})
	}
	return slices.Concat(changes, r.compareTunnel(b, l), r.comparePorts(b, l))
}

func compareBridge(b *vswitch.Bridge, l Layout) (changes []change) {
	row := wantedBridge(l)
	row.UUID = b.UUID
	if b.DatapathType != l.Datapath {
		changes = append(changes, change{fmt.Sprintf("datapath_type was %q", b.DatapathType), func(t *transaction) { t.update(row, &row.DatapathType) }})
	}
	if b.FailMode == nil || *b.FailMode != vswitch.BridgeFailModeSecure {
		changes = append(changes, change{"fail_mode was not secure", func(t *transaction) { t.update(row, &row.FailMode) }})
	}
	if slices.ContainsFunc(protocols, func(p vswitch.BridgeProtocols) bool { return !slices.Contains(b.Protocols, p) }) {
		changes = append(changes, change{fmt.Sprintf("protocols were %v", b.Protocols), func(t *transaction) { t.insert(row, &row.Protocols, protocols) }})
	}
	return changes
}

func wantedBridge(l Layout) *vswitch.Bridge {
	secure := vswitch.BridgeFailModeSecure
	return &vswitch.Bridge{
		Name: l.Bridge, DatapathType: l.Datapath, FailMode: &secure, Protocols: protocols,
		ExternalIDs: map[string]string{mark: markBridge},
	}
}

func (r rows) tableNames(b *vswitch.Bridge) map[uint8]string {
	names := map[uint8]string{}
	for id, uuid := range b.FlowTables {
		if t := r.table(uuid); t != nil && t.Name != nil {
			names[uint8(id)] = *t.Name
		}
	}
	return names
}

func (r rows) compareTunnel(b *vswitch.Bridge, l Layout) []change {
	i := r.iface(l.Tunnel)
	if i == nil {
		return []change{{"tunnel port " + l.Tunnel + " was missing", func(t *transaction) { t.addPort(b.UUID, tunnelInterface(l), markTunnel) }}}
	}
	want := tunnelOptions(l)
	if i.Type == "vxlan" && maps.Equal(i.Options, want) {
		return nil
	}
	return []change{{fmt.Sprintf("tunnel port was %s with options %s", i.Type, optionsText(i.Options)), func(t *transaction) {
		row := &vswitch.Interface{UUID: i.UUID, Type: "vxlan", Options: want}
		t.update(row, &row.Type, &row.Options)
	}}}
}

func tunnelInterface(l Layout) *vswitch.Interface {
	number := tunnelOFPort
	return &vswitch.Interface{Name: l.Tunnel, Type: "vxlan", Options: tunnelOptions(l), OfportRequest: &number}
}

// tunnelOptions makes one port serve all VNIs and peers: flows set both (ovs-vswitchd.conf.db(5), tunnel options).
func tunnelOptions(l Layout) map[string]string {
	port := l.UDPPort
	if port == 0 {
		port = vxlanPort
	}
	return map[string]string{"key": "flow", "remote_ip": "flow", "local_ip": l.VTEP.String(), "dst_port": strconv.Itoa(int(port))}
}

func optionsText(options map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(options)) {
		parts = append(parts, k+"="+options[k])
	}
	return strings.Join(parts, ",")
}

// createBridge makes the bridge with its tables and ports.
func (t *transaction) createBridge(l Layout) {
	b := wantedBridge(l)
	b.FlowTables = t.createTables(l.Tables)
	b.Ports = []string{
		t.createPort(&vswitch.Interface{Name: l.Bridge, Type: "internal"}, markBridge),
		t.createPort(tunnelInterface(l), markTunnel),
	}
	for _, p := range l.Ports {
		b.Ports = append(b.Ports, t.createPort(p.row(), markPort))
	}
	t.insertBridge(b)
}

// insertBridge adds a bridge to this Open vSwitch.
func (t *transaction) insertBridge(b *vswitch.Bridge) {
	b.UUID = t.name()
	t.create(b)
	if root := t.db.rows().root(); root != nil {
		row := &vswitch.OpenvSwitch{UUID: root.UUID}
		t.insert(row, &row.Bridges, []string{b.UUID})
	}
}

func (t *transaction) createTables(names map[uint8]string) map[int]string {
	tables := map[int]string{}
	for id, name := range names {
		row := &vswitch.FlowTable{UUID: t.name(), Name: &name, ExternalIDs: map[string]string{mark: markBridge}}
		t.create(row)
		tables[int(id)] = row.UUID
	}
	return tables
}

// addPort makes a port on an existing bridge.
func (t *transaction) addPort(bridge string, i *vswitch.Interface, role string) {
	row := &vswitch.Bridge{UUID: bridge}
	t.insert(row, &row.Ports, []string{t.createPort(i, role)})
}

// createPort makes a port and its interface, both marked, and returns the port's name within the transaction.
func (t *transaction) createPort(i *vswitch.Interface, role string) string {
	ids := map[string]string{mark: role}
	if i.ExternalIDs == nil {
		i.ExternalIDs = map[string]string{}
	}
	i.ExternalIDs[mark] = role
	i.UUID = t.name()
	t.create(i)
	p := &vswitch.Port{UUID: t.name(), Name: i.Name, Interfaces: []string{i.UUID}, ExternalIDs: ids}
	t.create(p)
	return p.UUID
}
