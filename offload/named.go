package offload

// named are the features by the names that journals on disk have for them.
var named = map[string]Feature{"gro": GRO, "lro": LRO, "tx": TxChecksum}

// Read gives the features of an interface, by name: gro, lro, tx. Features that the interface does not have are left out.
func Read(iface string, names ...string) (map[string]bool, error) {
	s, err := Open()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	has := map[string]bool{}
	for _, name := range names {
		if on, err := s.Get(iface, named[name]); err == nil {
			has[name] = on
		}
	}
	return has, nil
}

// Apply turns features of an interface on or off, by name. A feature that the interface cannot change is ignored, except for tx: missing
// checksums would break connections.
func Apply(iface string, want map[string]bool) error {
	s, err := Open()
	if err != nil {
		return err
	}
	defer s.Close()
	for name, on := range want {
		has, err := s.Get(iface, named[name])
		if err != nil || has == on {
			continue
		}
		if err := s.Set(iface, named[name], on); err != nil && name == "tx" {
			return err
		}
	}
	return nil
}
