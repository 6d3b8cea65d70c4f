package attach

// Plumbed tells whether an interface of ours leads into a network namespace, to an end of that name. A namespace's path says little:
// another one may have it now.
func Plumbed(hostIf, netns, ifName string) (bool, error) {
	p, err := enter(Request{HostIf: hostIf, Netns: netns, IfName: ifName})
	if err != nil {
		return false, err
	}
	defer p.close()
	if p.outer, err = link(p.host, hostIf); err != nil || p.outer == nil {
		return false, err
	}
	if p.inner, err = link(p.inside, ifName); err != nil {
		return false, err
	}
	return p.joined(), nil
}
