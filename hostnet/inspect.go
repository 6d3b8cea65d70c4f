package hostnet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/internal/ifname"
	"github.com/overlane/overlane/netdump"
)

// Snapshot is what the kernel has of what [Kernel.Set] makes, in lines of text. It holds no counts and no numbers that
// differ between two machines in the same state, so that snapshots can be compared.
type Snapshot struct {
	Table   []string // of nftables, by its sets, counters and chains
	Ports   []string // of the switch for the kernel, with addresses and permanent neighbours
	Rules   []string // of policy routing
	Routes  []string // of the direct path, by table, and of the main table where they lead to a port
	Sysctls []string // of interfaces that have an IPv4 address, whoever has set them
	Docker  []string // our rules in Docker's chains
}

// String has a section for each part.
func (s Snapshot) String() string {
	var b strings.Builder
	for _, part := range []struct {
		name  string
		lines []string
	}{{"table", s.Table}, {"ports", s.Ports}, {"rules", s.Rules}, {"routes", s.Routes}, {"sysctls", s.Sysctls}, {"docker", s.Docker}} {
		fmt.Fprintf(&b, "# %s\n", part.name)
		for _, line := range part.lines {
			fmt.Fprintln(&b, line)
		}
	}
	return b.String()
}

// Inspect reads what the kernel has now, and changes nothing. The product does not call it: it is for tests, which
// compare what becomes of a machine with what was meant, and generate mishaps from what a host relies on.
func Inspect(ctx context.Context) (s Snapshot, err error) {
	i := inspection{names: map[int]string{}}
	if err := i.listLinks(); err != nil {
		return s, fmt.Errorf("inspect the host's kernel: list interfaces: %w", err)
	}
	for _, part := range []struct {
		what string
		into *[]string
		read func(context.Context) ([]string, error)
	}{
		{"nftables", &s.Table, i.table},
		{"ports", &s.Ports, i.ports},
		{"rules", &s.Rules, i.rules},
		{"routes", &s.Routes, i.routes},
		{"sysctls", &s.Sysctls, i.sysctls},
		{"iptables", &s.Docker, i.docker},
	} {
		if *part.into, err = part.read(ctx); err != nil {
			return s, fmt.Errorf("inspect the host's kernel: %s: %w", part.what, err)
		}
	}
	return s, nil
}

// inspection is one call.
type inspection struct {
	names map[int]string // of interfaces, by index
	links []netlink.Link // the switch's ports for the kernel, by name
}

func (i *inspection) listLinks() error {
	links, err := netdump.List(netlink.LinkList)
	for _, l := range links {
		name := l.Attrs().Name
		i.names[l.Attrs().Index] = name
		if name == SNATPort || name == UnderlayPort || strings.HasPrefix(name, EdgePorts) {
			i.links = append(i.links, l)
		}
	}
	slices.SortFunc(i.links, func(x, y netlink.Link) int { return strings.Compare(x.Attrs().Name, y.Attrs().Name) })
	return err
}

func (i *inspection) ports(context.Context) (lines []string, err error) {
	for _, l := range i.links {
		state := "down"
		if l.Attrs().Flags&net.FlagUp != 0 {
			state = "up"
		}
		lines = append(lines, l.Attrs().Name+" "+state)
		addresses, err := addressesOf(l)
		if err != nil {
			return nil, err
		}
		for _, a := range addresses {
			lines = append(lines, fmt.Sprintf("  address %s scope %s", a.IPNet, netlink.Scope(a.Scope)))
		}
		neighbours, err := permanentNeighbours(l)
		if err != nil {
			return nil, err
		}
		for _, n := range neighbours {
			lines = append(lines, fmt.Sprintf("  neighbour %s is %s", n.IP, n.HardwareAddr))
		}
	}
	return lines, nil
}

func (i *inspection) rules(context.Context) (lines []string, err error) {
	rules, err := ourRules()
	for _, r := range rules {
		line := fmt.Sprintf("%d:", r.priority)
		if r.iif != "" {
			line += " iif " + r.iif
		}
		if r.mask != 0 {
			line += fmt.Sprintf(" mark %#x/%#x", r.mark, r.mask)
		}
		lines = append(lines, line+" to table "+i.tableName(r.table))
	}
	return lines, err
}

// tableName is that of a routing table. The number of an edge's ends in the index of the port, which differs from
// machine to machine.
func (i *inspection) tableName(table int) string {
	switch table {
	case hostedTable:
		return "hosted"
	case remoteTable:
		return "remote"
	case markedTable:
		return "marked"
	case unix.RT_TABLE_MAIN:
		return "main"
	}
	if name := i.names[table-edgeTables]; name != "" {
		return "edge " + name
	}
	return fmt.Sprint(table)
}

func (i *inspection) routes(context.Context) (lines []string, err error) {
	h, err := newHandle()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	routes, err := ourRoutes(h)
	if err != nil {
		return nil, err
	}
	for _, l := range i.links {
		main, err := mainRoutesBy(l)
		if err != nil {
			return nil, err
		}
		routes = append(routes, main...)
	}
	for _, r := range routes {
		lines = append(lines, i.route(r))
	}
	slices.Sort(lines)
	return lines, nil
}

func (i *inspection) route(r netlink.Route) string {
	line := fmt.Sprintf("%s: %s", i.tableName(r.Table), prefix(r.Dst))
	if r.Type == unix.RTN_UNREACHABLE {
		line += " unreachable"
	} else {
		line += fmt.Sprintf(" via %s dev %s", r.Gw, i.names[r.LinkIndex])
	}
	if r.Src != nil {
		line += " src " + r.Src.String()
	}
	if r.Priority != 0 {
		line += fmt.Sprintf(" metric %d", r.Priority)
	}
	return line
}

func (i *inspection) sysctls(context.Context) (lines []string, err error) {
	addresses, err := addressesOf(nil)
	if err != nil {
		return nil, err
	}
	names := []string{"all"}
	for _, a := range addresses {
		names = append(names, i.names[a.LinkIndex])
	}
	for _, name := range distinct(names) {
		files := []string{forwardingOf(name), sourceFilterOf(name)}
		if ifname.IsOwnPort(name) {
			files = files[:0]
			for _, s := range (&port{name: name}).sysctls() {
				files = append(files, s.file)
			}
		}
		for _, file := range files {
			value, err := readSysctl(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue // gone meanwhile, or a kernel without IPv6
			}
			if err != nil {
				return nil, err
			}
			lines = append(lines, file+" = "+value)
		}
	}
	return lines, nil
}

func (i *inspection) docker(ctx context.Context) ([]string, error) {
	docker, err := iptablesRules(ctx, dockerChain)
	if err != nil {
		return nil, err
	}
	own, err := iptablesRules(ctx, ourChain)
	return append(jumpsIn(docker), own...), err
}
