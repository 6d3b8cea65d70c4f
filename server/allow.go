package server

import (
	"github.com/overlane/overlane/model"
)

// What a host may do, with nothing but its certificate. Its machine may have been broken into, so it is trusted with
// nothing that is not its own:
//
//   - it may plug in an endpoint that is plugged in nowhere, and unplug its own;
//   - it makes endpoints only for an attach, or for what is behind the port of one of its own (ephemeral ones), on itself, and they stay ephemeral: nothing
//     that it could not delete;
//   - it deletes only what an attach made (ephemeral endpoints), never what a user wrote down;
//   - it never touches an endpoint on another host: moving one is asked for by an admin, or the other host lets go first;
//   - of an endpoint that it did not make in this request, address and MAC stay as they are: they are the user's;
//   - it reads its own view, host and endpoints, and the subnets and VPCs that these are in;
//   - what Overlane derives from these (the NAT address of an endpoint's public IP, the port blocks of hosts) changes with them;
//   - it writes the status of itself and of its endpoints.
//
// It may make an endpoint in any subnet, and then knows that subnet: there are no roles yet that say which VPCs a host serves,
// and no quotas.
//
// Every change is judged by its outcome, after admission, so that it does not matter by which route it was asked for. The
// request is looked at before, so that the reasons of admission tell nothing about what is not the host's.

// mayAsk judges what a request is about, before anything else is said about it.
func mayAsk(s *model.State, caller Caller, q model.Request) error {
	if caller.Kind == LocalAdmin {
		return nil
	}
	for _, o := range q.Put {
		if err := mayTouch(s, caller, o.Key()); err != nil {
			return err
		}
		if spec, ok := o.Spec.(*model.EndpointSpec); ok && spec != nil && spec.Via() != "" && !owns(s.Get(model.Key{Kind: "Endpoint", Name: spec.Via()}), caller.Host) {
			return denied("%s may put %s behind no endpoint but one of its own", caller, o.Key())
		}
	}
	for _, key := range q.Delete {
		if err := mayTouch(s, caller, key); err != nil {
			return err
		}
		if o := s.Get(key); o != nil && (!owns(o, caller.Host) || !o.Spec.(*model.EndpointSpec).Ephemeral) {
			return denied("%s may not delete %s: it deletes only what was attached to it without being written down", caller, key)
		}
	}
	return nil
}

func mayTouch(s *model.State, caller Caller, key model.Key) error {
	if caller.Kind != HostCaller || key.Kind != "Endpoint" {
		return denied("%s may not change %s", caller, key)
	}
	if spec := s.Endpoint(key.Name); spec != nil && spec.Host != "" && spec.Host != caller.Host {
		return denied("%s may not change %s, which is on another host; detach it there first, or have an admin move it", caller, key)
	}
	return nil
}

// mayChange judges what a request comes to. That of a deletion was known before.
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

// staysAsMade refuses what would leave an endpoint behind that no detach deletes, and other addresses.
func staysAsMade(caller Caller, c model.Change) error {
	before, after := c.Before.Spec.(*model.EndpointSpec), c.After.Spec.(*model.EndpointSpec)
	if before.Ephemeral && (!after.Ephemeral || after.Host == "") {
		return denied("%s may not make a lasting endpoint of %s, nor leave it on no host: delete it instead", caller, c.Key())
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

// owns tells whether an object is an endpoint on the host.
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

// sight is what a caller may read: whether it may read an object.
type sight func(*model.Object) bool

func sightOf(s *model.State, caller Caller) sight {
	switch {
	case caller.Kind == LocalAdmin:
		return func(*model.Object) bool { return true }
	case caller.Kind == HostCaller && caller.Host != "":
		return sightOfHost(s, caller.Host)
	}
	return func(*model.Object) bool { return false }
}

func sightOfHost(s *model.State, host string) sight {
	seen := map[model.Key]bool{{Kind: "Host", Name: host}: true}
	for e := range s.EndpointsOn(host) {
		subnet := model.Parent(e.Name)
		seen[e.Key()] = true
		seen[model.Key{Kind: "Subnet", Name: subnet}] = true
		seen[model.Key{Kind: "VPC", Name: model.Parent(subnet)}] = true
	}
	return func(o *model.Object) bool { return seen[o.Key()] }
}
