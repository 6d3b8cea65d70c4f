package attach

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/internal/ifname"
	"github.com/overlane/overlane/internal/nlerr"
	"github.com/overlane/overlane/offload"
)

// Plumb makes the requested interface, ready for use except for the switch's port. A second call with the same request
// changes nothing. If an interface with other values, or one that is not ours, is in the way, the error is
// [ErrConflict] and the interface stays. A call that fails leaves nothing behind. undo removes what this call has made.
func Plumb(ctx context.Context, r Request) (undo func() error, err error) {
	undo, err = plumb(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("make %s in %s: %w", r.IfName, r.Netns, err)
	}
	return undo, nil
}

func plumb(ctx context.Context, r Request) (func() error, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	p, err := openPlumbing(r)
	if err != nil {
		return nil, err
	}
	defer p.close()
	made, err := p.ensurePair()
	if err == nil {
		err = p.configure()
	}
	if err == nil {
		err = ctx.Err()
	}
	undo := func() error { return nil }
	if made {
		undo = func() error { return Unplumb(context.Background(), r.HostIf) }
	}
	if err != nil {
		return nil, errors.Join(err, undo())
	}
	return undo, nil
}

// Unplumb removes an interface by the name of its end on the host; the other end goes with it. An interface that does
// not exist is no error.
func Unplumb(ctx context.Context, hostIf string) error {
	if !ifname.IsEndpoint(hostIf) {
		return fmt.Errorf("remove %s: %w: not a name that Overlane gives", hostIf, ErrInvalid)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("remove %s: %w", hostIf, err)
	}
	l, err := netlink.LinkByName(hostIf)
	if err == nil {
		err = netlink.LinkDel(l)
	}
	if nlerr.IgnoreNotFound(err) != nil {
		return fmt.Errorf("remove %s: %w", hostIf, err)
	}
	return nil
}

// plumbing is the state of one call: both namespaces and both ends.
type plumbing struct {
	Request
	ns           netns.NsHandle
	host, inside *netlink.Handle
	outer, inner netlink.Link // once the pair exists
	mended       bool         // something was missing and has been set
}

func openPlumbing(r Request) (*plumbing, error) {
	ns, err := openNetns(r.Netns)
	if err != nil {
		return nil, err
	}
	p := &plumbing{Request: r, ns: ns}
	if home, err := netns.Get(); err == nil {
		defer home.Close()
		if home.Equal(ns) {
			p.close()
			return nil, fmt.Errorf("%w: that is the host's own network namespace (a container with --net=host?)", ErrInvalid)
		}
	}
	if p.host, err = netlink.NewHandle(unix.NETLINK_ROUTE); err == nil {
		p.inside, err = netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("enter: %w", err)
	}
	return p, nil
}

func (p *plumbing) close() {
	for _, h := range []*netlink.Handle{p.host, p.inside} {
		if h != nil {
			h.Close()
		}
	}
	p.ns.Close()
}

// ensurePair makes the veth pair unless it exists. That is rare, so it looks only after the kernel has refused.
func (p *plumbing) ensurePair() (made bool, err error) {
	err = p.create()
	made = err == nil
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return false, fmt.Errorf("create %s: %w", p.HostIf, err)
	}
	if err := p.look(); err != nil {
		return made, err
	}
	switch {
	case made && (p.outer == nil || p.inner == nil):
		return true, errors.New("it vanished again; has the namespace?")
	case made:
		return true, nil
	case p.outer == nil:
		return false, fmt.Errorf("%w: an interface %s exists that Overlane has not made", ErrConflict, p.IfName)
	}
	return false, p.mustAgree()
}

// look finds the two ends.
func (p *plumbing) look() (err error) {
	if p.outer, err = link(p.host, p.HostIf); err != nil {
		return err
	}
	p.inner, err = link(p.inside, p.IfName)
	return err
}

// mustAgree checks that the existing pair is the requested one.
func (p *plumbing) mustAgree() error {
	if !p.paired() {
		return fmt.Errorf("%w: the endpoint's interface %s leads elsewhere; detach it first", ErrConflict, p.HostIf)
	}
	return p.compare()
}

// link gives nil if there is no such interface.
func link(h *netlink.Handle, name string) (netlink.Link, error) {
	l, err := h.LinkByName(name)
	if nlerr.NotFound(err) {
		return nil, nil
	}
	return l, err
}

// paired reports whether the two ends belong together: indexes are per namespace, so indexes and namespace must match.
func (p *plumbing) paired() bool {
	if p.inner == nil {
		return false
	}
	o, i := p.outer.Attrs(), p.inner.Attrs()
	nsid, err := p.host.GetNetNsIdByFd(int(p.ns))
	return err == nil && o.NetNsID == nsid && o.ParentIndex == i.Index && i.ParentIndex == o.Index
}

// create makes the pair with one message, the inner end in its namespace from the start. One queue for each end keeps
// that cheap: every further queue has objects in sysfs.
func (p *plumbing) create() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = p.HostIf, p.MTU
	attrs.NumTxQueues, attrs.NumRxQueues = 1, 1
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: p.IfName, PeerHardwareAddr: net.HardwareAddr(p.MAC[:]),
		PeerNamespace: netlink.NsFd(p.ns), PeerTxQLen: -1,
	}
	return p.host.LinkAdd(veth)
}

// configure sets what is missing. The order matters: a route needs its interface up, and offloads must be set before
// the first packet.
func (p *plumbing) configure() error {
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"name the endpoint of " + p.HostIf, p.setOwner},
		{"tell the host's network stack to keep out of " + p.HostIf, p.isolateHostEnd},
		{"set offloads", p.setOffload},
		{"add address " + p.Address.String(), p.addAddress},
		{"set " + p.IfName + " up", func() error { return p.setUp(p.inside, p.inner) }},
		{"set " + p.HostIf + " up", func() error { return p.setUp(p.host, p.outer) }},
		{"add default route via " + p.Gateway.String(), p.addRoute},
		{"set lo up", p.setLoopbackUp}, // last, since it would stay so after a failure
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// did records that a step has changed something, unless the kernel says that it existed.
func (p *plumbing) did(err error) error {
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	p.mended = true
	return err
}

func (p *plumbing) setUp(h *netlink.Handle, l netlink.Link) error {
	if l.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	return p.did(h.LinkSetUp(l))
}

// setOwner is no repair: what 0.1.0 has made has no owner.
func (p *plumbing) setOwner() error {
	if p.outer.Attrs().Alias == p.Owner {
		return nil
	}
	return p.host.LinkSetAlias(p.outer, p.Owner)
}

// loopback has the same index in every namespace.
const loopback = 1

func (p *plumbing) setLoopbackUp() error {
	lo, err := p.inside.LinkByIndex(loopback)
	if err != nil {
		return err
	}
	return p.setUp(p.inside, lo)
}

func (p *plumbing) addAddress() error {
	if p.DHCP {
		return nil
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: p.Address.Addr().AsSlice(), Mask: net.CIDRMask(p.Address.Bits(), 32)}}
	return p.did(p.inside.AddrAdd(p.inner, address))
}

func (p *plumbing) addRoute() error {
	if p.DHCP || !p.Gateway.IsValid() {
		return nil
	}
	route := &netlink.Route{LinkIndex: p.inner.Attrs().Index, Gw: p.Gateway.AsSlice()}
	err := p.inside.RouteAdd(route)
	if !errors.Is(err, unix.EEXIST) {
		return p.did(err)
	}
	routes, err := defaultRoutes(p.inside)
	for _, r := range routes {
		if r.LinkIndex == route.LinkIndex && r.Gw.Equal(route.Gw) {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("%w: there is another default route; attach what was started without a network (--net=none), or without a gateway (--no-gateway)", ErrConflict), err)
}

func (p *plumbing) setOffload() error {
	if p.ChecksumOffload {
		return nil
	}
	s, err := offload.OpenAt(p.ns)
	if err != nil {
		return err
	}
	defer s.Close()
	on, err := s.Get(p.IfName, offload.TxChecksum)
	if err != nil || !on {
		return err
	}
	return p.did(s.Set(p.IfName, offload.TxChecksum, false))
}
