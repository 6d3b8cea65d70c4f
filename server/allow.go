package server

import (
	"github.com/overlane/overlane/model"
)

// A host may do the following with its certificate. An intruder may control its machine, so it gets rights on its own
// objects only:
//
//   - It may plug in an endpoint that is plugged in nowhere, and unplug its own endpoints.
//   - It may create ephemeral endpoints on itself, for an attach or behind the port of one of its endpoints. They stay
//     ephemeral, so that it can always delete them.
//   - It may delete ephemeral endpoints, but no endpoint that a user has created.
//   - It may not change an endpoint on another host. An admin moves endpoints, or the other host unplugs them first.
//   - It may not change the address or the MAC of an existing endpoint.
//   - It may read its view, its host, its endpoints, and their subnets and VPCs.
//   - Objects that Overlane derives from these change with them: the NAT-IPs of public IPs, and port blocks.
//   - It may write the status of itself and of its endpoints.
//
// A host may create an endpoint in any subnet, and then read that subnet: there are neither roles by VPC nor quotas
// yet.
//
// The outcome of a change decides, after admission, whatever route the request has taken. The request itself is checked
// before, so that the errors of admission reveal nothing about the objects of others.

// mayAsk refuses a request that names objects of others, before admission.
func mayAsk(s *model.State, caller Caller, q model.Request) error {
	if caller.Kind == LocalAdmin {
		return nil
	}
	for _, o := range q.Put {
		if err := mayTouch(s, caller, o.Key()); err != nil {
			return err
		}
		if spec, ok := o.Spec.(*model.EndpointSpec); ok && spec != nil && spec.Via() != "" &&
			!owns(s.Get(model.Key{Kind: "Endpoint", Name: spec.Via()}), caller.Host) {
			return denied("%s may put %s behind no endpoint but one of its own", caller, o.Key())
		}
	}
	for _, key := range q.Delete {
		if err := mayTouch(s, caller, key); err != nil {
			return err
		}
		if o := s.Get(key); o != nil && (!owns(o, caller.Host) || !o.Spec.(*model.EndpointSpec).Ephemeral) {
			return denied("%s may not delete %s: it deletes only what was attached to it without being written down",
				caller, key)
		}
	}
	return nil
}

func mayTouch(s *model.State, caller Caller, key model.Key) error {
	if caller.Kind != HostCaller || key.Kind != "Endpoint" {
		return denied("%s may not change %s", caller, key)
	}
	if spec := s.Endpoint(key.Name); spec != nil && spec.Host != "" && spec.Host != caller.Host {
		return denied("%s may not change %s, which is on another host; detach it there first, or have an admin move it",
			caller, key)
	}
	return nil
}

// mayChange refuses a request by its outcome. [mayAsk] has checked deletions.
func mayChange(caller Caller, c model.Change) error {
	switch {
	case caller.Kind == LocalAdmin, c.Derived:
		return nil
	case caller.Kind != HostCaller || c.Key().Kind != "Endpoint":
		return denied("%s may not change %s", caller, c.Key())
	case c.Action == model.Delete:
		return nil
	case c.Action == model.Update && owns(c.Before, caller.Host) && unplugged(c.After):
		return staysAsMade(caller, c)
	case !owns(c.After, caller.Host):
		return denied("%s may put %s on no host but itself", caller, c.Key())
	case c.Action == model.Update:
		return staysAsMade(caller, c)
	case c.Action == model.Create && !c.After.Spec.(*model.EndpointSpec).Ephemeral:
		return denied("%s may not make %s: it makes only ephemeral endpoints, which it can delete", caller, c.Key())
	}
	return nil
}

// staysAsMade refuses a change of address or MAC, and an ephemeral endpoint that becomes a permanent one.
func staysAsMade(caller Caller, c model.Change) error {
	before, after := c.Before.Spec.(*model.EndpointSpec), c.After.Spec.(*model.EndpointSpec)
	if before.Ephemeral && (!after.Ephemeral || after.Host == "") {
		return denied("%s may not make a lasting endpoint of %s, nor leave it on no host: delete it instead", caller,
			c.Key())
	}
	return sameAddresses(caller, c)
}

func sameAddresses(caller Caller, c model.Change) error {
	before, after := c.Before.Spec.(*model.EndpointSpec), c.After.Spec.(*model.EndpointSpec)
	if before.Address != after.Address || before.MAC != after.MAC {
		return denied("%s may not change the address or the MAC of %s", caller, c.Key())
	}
	return nil
}

// owns reports whether an object is an endpoint on the host.
func owns(o *model.Object, host string) bool {
	if o == nil || host == "" {
		return false
	}
	spec, ok := o.Spec.(*model.EndpointSpec)
	return ok && spec.Host == host
}

func unplugged(o *model.Object) bool {
	spec, ok := o.Spec.(*model.EndpointSpec)
	return ok && spec.Host == ""
}

// visibility reports whether a caller may read an object.
type visibility func(*model.Object) bool

func visibilityOf(s *model.State, caller Caller) visibility {
	switch {
	case caller.Kind == LocalAdmin:
		return func(*model.Object) bool { return true }
	case caller.Kind == HostCaller && caller.Host != "":
		return visibilityOfHost(s, caller.Host)
	}
	return func(*model.Object) bool { return false }
}

func visibilityOfHost(s *model.State, host string) visibility {
	seen := map[model.Key]bool{{Kind: "Host", Name: host}: true}
	for e := range s.EndpointsOn(host) {
		subnet := model.Parent(e.Name)
		seen[e.Key()] = true
		seen[model.Key{Kind: "Subnet", Name: subnet}] = true
		seen[model.Key{Kind: "VPC", Name: model.Parent(subnet)}] = true
	}
	return func(o *model.Object) bool { return seen[o.Key()] }
}
