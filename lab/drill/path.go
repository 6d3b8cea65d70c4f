package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/model"
)

// SNAT is the design of a VPC without public addresses, whose hosts send in their own name. The others are the model's.
const SNAT = "snat"

// Designs are all.
var Designs = []string{SNAT, model.Central, model.Distributed}

// path is how an endpoint reaches the outside, and how it is reached.
type path struct {
	design  string
	vpc     string
	host    *lab.Host // the endpoint's
	netns   string
	public  netip.Addr // the zero value: nobody reaches the endpoint unasked
	client  *lab.Machine
	server  *lab.Machine
	borders []borderHost // by which it leads; none: straight from the host
}

// borderHost is a host that public traffic passes.
type borderHost struct {
	*lab.Host
	nic string // on the upstream network
}

// intent is what the lab's server has.
type intent struct {
	hosts, gateways, publicIPs []model.Object
}

func readIntent(ctx context.Context, l *lab.Lab) (i intent, err error) {
	if l.Server == nil {
		return i, fmt.Errorf("lab %s has no server", l.File.Name)
	}
	for kind, into := range map[string]*[]model.Object{"hosts": &i.hosts, "internetgateways": &i.gateways, "publicips": &i.publicIPs} {
		out, err := l.Host(l.File.Server).Exec(ctx, "overlane", "get", kind, "-o", "json")
		if err != nil {
			return i, err
		}
		var list struct{ Items []model.Object }
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return i, fmt.Errorf("read %s: %w", kind, err)
		}
		*into = list.Items
	}
	return i, nil
}

// pathOf finds an endpoint of the lab's file that a design is for.
func pathOf(l *lab.Lab, i intent, design string) (p path, err error) {
	if l.File.Outside == nil || len(l.File.Outside.Machines) == 0 {
		return p, fmt.Errorf("lab %s has no machine outside that could be a client or a server", l.File.Name)
	}
	machines := l.File.Outside.Machines
	p = path{design: design, client: l.Machine(machines[0].Name), server: l.Machine(machines[len(machines)-1].Name)}
	for _, e := range l.File.Endpoints {
		if e.Netns == "" || l.Host(e.Host) == nil || !i.leads(&p, e) {
			continue
		}
		p.host, p.netns = l.Host(e.Host), e.Netns
		p.borders = i.borders(l, p)
		return p, nil
	}
	return p, fmt.Errorf("lab %s has no network namespace that design %s is for", l.File.Name, design)
}

// leads tells whether an endpoint is one of the path's design, and completes the path.
func (i intent) leads(p *path, e lab.Endpoint) bool {
	vpc, _, _ := strings.Cut(e.Subnet, "/")
	name := e.Subnet + "/" + e.Name
	if e.Name == "" {
		name += e.Netns
	}
	gateway := i.gateway(vpc)
	if gateway == nil {
		return false
	}
	p.vpc, p.public = vpc, netip.Addr{}
	for _, o := range i.publicIPs {
		if spec := o.Spec.(*model.PublicIPSpec); spec.Endpoint == name {
			p.public = spec.Address
		}
	}
	if p.design == SNAT {
		return gateway.SNAT && !p.public.IsValid()
	}
	return gateway.Design == p.design && p.public.IsValid()
}

func (i intent) gateway(vpc string) *model.InternetGatewaySpec {
	for _, o := range i.gateways {
		if o.Name == vpc {
			return o.Spec.(*model.InternetGatewaySpec)
		}
	}
	return nil
}

func (i intent) borders(l *lab.Lab, p path) (all []borderHost) {
	gateway := i.gateway(p.vpc)
	for _, o := range i.hosts {
		spec, h := o.Spec.(*model.HostSpec), l.Host(o.Name)
		named := len(gateway.Hosts) == 0 || slices.Contains(gateway.Hosts, o.Name)
		if p.design != SNAT && h != nil && spec.Outside != nil && slices.Contains(spec.Roles, gateway.Role()) && named {
			all = append(all, borderHost{h, spec.Outside.Interface})
		}
	}
	return all
}

// saidOf is what the server says of a path, for one that does not work.
func (i intent) saidOf(p path) error {
	for _, o := range i.publicIPs {
		s, _ := o.Status.(*model.PublicIPStatus)
		if o.Spec.(*model.PublicIPSpec).Address == p.public && s != nil && s.Reason != "" {
			return fmt.Errorf("PublicIP %s is %s: %s", o.Name, s.State, s.Reason)
		}
	}
	for _, o := range i.gateways {
		if s, _ := o.Status.(*model.InternetGatewayStatus); o.Name == p.vpc && s != nil && s.Reason != "" {
			return errors.New("InternetGateway " + o.Name + ": " + s.Reason)
		}
	}
	return nil
}
