package agent

import (
	"context"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

const attachTimeout = 20 * time.Second

// attach plugs an endpoint in: the server gives it a place, then interface, port and flows are made. It returns once
// the switch has confirmed the flows. Whatever goes wrong, everything that was made is taken back. Attaching what is
// attached changes nothing, unless something is missing there.
func (a *attachments) attach(ctx context.Context, r local.AttachRequest) (local.AttachReply, error) {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	target, err := a.resolve(ctx, &r)
	if err != nil {
		return local.AttachReply{}, err
	}
	name := r.Subnet + "/" + r.Name
	if err := a.begin(ctx, name); err != nil {
		return local.AttachReply{}, err
	}
	defer a.end(name)
	p := &plugging{attachments: a, name: name, request: r, target: target}
	defer p.unlessDone()
	reply, err := p.run(ctx)
	if err != nil {
		return local.AttachReply{}, fmt.Errorf("attach %s to %s: %w", target.what, r.Subnet, err)
	}
	p.done = true
	return reply, nil
}

// target is what is to be plugged in.
type target struct {
	what       string // for people
	netns      string // path
	attachment model.Attachment
}

// resolve finds the namespace and fills the request's defaults.
func (a *attachments) resolve(ctx context.Context, r *local.AttachRequest) (target, error) {
	if (r.Container == "") == (r.Netns == "") {
		return target{}, invalid("name one of container and netns")
	}
	if r.Interface == "" {
		r.Interface = "eth0"
	}
	if r.Netns != "" {
		path, err := attach.NetnsPath(r.Netns)
		if err != nil {
			return target{}, err
		}
		if r.Name == "" {
			r.Name = defaultName(r.Netns)
		}
		return target{"netns " + r.Netns, path, model.Attachment{Netns: path, Interface: r.Interface}}, nil
	}
	c, err := attach.Resolve(ctx, a.config.Docker, r.Container)
	if err != nil {
		return target{}, err
	}
	if r.Name == "" {
		r.Name = defaultName(c.Name)
	}
	return target{"container " + r.Container, c.NetnsPath, model.Attachment{Container: c.ID, Interface: r.Interface}}, nil
}

// plugging is one attach under way, and what it has made so far.
type plugging struct {
	attachments *attachments
	name        string
	request     local.AttachRequest
	target      target

	db       *ovs.DB
	layout   ovs.State
	bound    *model.Object // as the server has it now
	address  view.Address
	undo     func() error // takes the interface away, if this call has made it
	number   uint32       // of the port
	port     bool         // the switch has, or may have, a port that this call has made
	portName string
	done     bool // what was made is to stay
	had      struct{ endpoint, port bool }
}

func (p *plugging) run(ctx context.Context) (local.AttachReply, error) {
	reply, done, err := p.already(ctx)
	if done || err != nil {
		return reply, err
	}
	if p.db, p.layout, err = p.attachments.database(ctx); err != nil {
		return local.AttachReply{}, err
	}
	if err := p.bind(ctx); err != nil {
		return local.AttachReply{}, err
	}
	segment, err := p.awaitAddress(ctx)
	if err != nil {
		return local.AttachReply{}, err
	}
	reply = p.reply(segment, newEndpointPorts(p.db.Ports()).name(p.address))
	if err := p.plumb(ctx, reply); err != nil {
		return local.AttachReply{}, err
	}
	return reply, p.attachments.awaitFlows(ctx, p.address.AddressKey, p.number)
}

// already looks whether the endpoint is plugged in here: into the same thing, then at most something is to be mended
// there; into another, then that comes first.
func (p *plugging) already(ctx context.Context) (reply local.AttachReply, done bool, err error) {
	a := p.attachments
	var known, wired bool
	var segment view.Segment
	var port string
	if err := a.queue.ask(ctx, func() {
		p.address, known = a.intent.own()[p.name]
		_, wired = a.flows.wiring.Ports[p.address.AddressKey]
		segment = a.intent.view.Segments[p.address.VNI]
		p.layout, port = a.bridge.state, a.bridge.endpoints().name(p.address)
	}); err != nil || !known || p.address.Attachment == nil {
		return reply, false, err
	}
	p.had.endpoint = *p.address.Attachment == p.target.attachment
	if !wired || p.layout.Datapath == "" { // what the interface must be like depends on it
		return reply, false, nil
	}
	if !p.had.endpoint {
		return reply, false, conflict("endpoint %s is attached to %s already; detach it first, or give another --name", p.name, describe(*p.address.Attachment))
	}
	if want := p.request.Address; want.IsValid() && want != p.address.IP {
		return reply, false, conflict("endpoint %s has the address %s already, not %s; detach it first", p.name, p.address.IP, want)
	}
	reply = p.reply(segment, port)
	if !attach.Exists(reply.Port) {
		return reply, false, nil
	}
	mended, err := attach.Mend(ctx, p.wanted(reply))
	reply.Unchanged = err == nil && !mended
	return reply, err == nil, err
}

func describe(at model.Attachment) string {
	if at.Via != "" {
		return "the port of " + at.Via
	}
	if at.Container != "" {
		return fmt.Sprintf("container %.12s (%s)", at.Container, at.Interface)
	}
	return fmt.Sprintf("netns %s (%s)", at.Netns, at.Interface)
}

// bind has the server give the endpoint to this host.
func (p *plugging) bind(ctx context.Context) error {
	bound, err := p.attachments.server.Put(ctx, model.Object{Kind: "Endpoint", Name: p.name, Spec: &model.EndpointSpec{
		Host: p.attachments.config.Host, Address: p.request.Address, MAC: p.request.MAC,
		Attachment: &p.target.attachment, Ephemeral: true,
	}})
	if err != nil {
		return err
	}
	p.bound = &bound
	return nil
}

func (p *plugging) reply(s view.Segment, port string) local.AttachReply {
	if p.request.NoGateway {
		s.Gateway = netip.Addr{}
	}
	return local.AttachReply{
		Endpoint: p.name, Address: netip.PrefixFrom(p.address.IP, s.CIDR.Bits()), Gateway: s.Gateway,
		MAC: p.address.MAC, MTU: s.MTU, Interface: p.request.Interface, Port: port,
	}
}

func (p *plugging) plumb(ctx context.Context, r local.AttachReply) error {
	if err := p.clear(ctx, r.Port); err != nil {
		return err
	}
	p.portName = r.Port
	undo, err := attach.Plumb(ctx, p.wanted(r))
	if err != nil {
		return err
	}
	p.undo, p.port = undo, !p.had.port
	added, err := p.db.AddPort(ctx, endpointPort(p.address, r.Port))
	p.number = added.OFPort
	return err
}

// wanted is what the interface must be like.
func (p *plugging) wanted(r local.AttachReply) attach.Request {
	return attach.Request{
		HostIf: r.Port, Owner: p.name, Netns: p.target.netns, IfName: r.Interface, MAC: r.MAC,
		Address: r.Address, Gateway: r.Gateway, MTU: r.MTU, DHCP: p.request.DHCP, ChecksumOffload: p.layout.Datapath != ovs.Userspace,
	}
}

// clear removes what is in the way of the port: the port of an interface that is gone, or what is left of an endpoint
// that had the address before. An interface without a port may be this endpoint's own, if it was plugged in before. The
// interface goes first: without a port, it would stay if the agent died in between.
func (p *plugging) clear(ctx context.Context, name string) error {
	ports := p.db.Ports()
	i := slices.IndexFunc(ports, func(has ovs.Port) bool { return has.Name == name })
	ours, exists := i >= 0 && ports[i].ExternalIDs[portEndpoint] == p.name, attach.Exists(name)
	if p.had.port = ours && exists; p.had.port || i < 0 && p.had.endpoint {
		return nil
	}
	if exists {
		if err := attach.Unplumb(ctx, name); err != nil {
			return err
		}
	}
	if i < 0 {
		return nil
	}
	return p.db.RemovePort(ctx, name)
}

// unlessDone is deferred, so that a panic leaves nothing behind either.
func (p *plugging) unlessDone() {
	if !p.done {
		p.rollBack()
	}
}

// rollBack takes back what this call has made, and no more, in the opposite order. It has time of its own: the call's
// may be up.
func (p *plugging) rollBack() {
	ctx, cancel := context.WithTimeout(context.Background(), attachTimeout)
	defer cancel()
	log := p.attachments.log.With("endpoint", p.name)
	if p.portName != "" && newEndpointPorts(p.db.Ports()).another(p.name, p.portName) { // the endpoint is gone, and its address given away
		p.port, p.undo = false, nil
	}
	if p.port {
		if err := p.db.RemovePort(ctx, p.portName); err != nil {
			log.Error("take the port back", "err", err)
		}
	}
	if p.undo != nil {
		if err := p.undo(); err != nil {
			log.Error("take the interface back", "err", err)
		}
	}
	if p.bound == nil || p.had.endpoint {
		return
	}
	spec := p.bound.Spec.(*model.EndpointSpec)
	if err := p.attachments.releaseNow(ctx, p.name, spec.Ephemeral); err != nil {
		log.Error("give the endpoint back", "err", err)
	}
}

// awaitAddress waits until the server has told this host of its new endpoint, and of the segment around it. When the
// time is up the loop may be looking still, so that nothing of what it finds is touched then.
func (p *plugging) awaitAddress(ctx context.Context) (view.Segment, error) {
	a := p.attachments
	spec := p.bound.Spec.(*model.EndpointSpec)
	var segment view.Segment
	if err := a.queue.await(ctx, "the server to tell this host of its endpoint", func() bool {
		for vni, s := range a.intent.view.Segments {
			if s.Subnet != p.request.Subnet {
				continue
			}
			segment = s
			p.address = a.intent.view.Addresses[view.AddressKey{VNI: vni, IP: spec.Address}]
		}
		return p.address.Endpoint == p.name && p.address.Host == a.config.Host
	}); err != nil {
		return view.Segment{}, err
	}
	return segment, nil
}

// defaultName makes the last part of an endpoint's name of a container's name, or of a namespace's.
func defaultName(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(path.Base(s)) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			b.WriteRune(r)
		} else {
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-.")
}
