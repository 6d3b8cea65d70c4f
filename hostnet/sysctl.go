package hostnet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// setSysctl writes a value below net, if the kernel has another one.
func setSysctl(file, value string) (changed bool, err error) {
	has, err := readSysctl(file)
	if err != nil || has == value {
		return false, err
	}
	return true, os.WriteFile("/proc/sys/net/"+file, []byte(value), 0)
}

func readSysctl(file string) (string, error) {
	value, err := os.ReadFile("/proc/sys/net/" + file)
	return strings.TrimSpace(string(value)), err
}

func forwardingOf(name string) string { return "ipv4/conf/" + name + "/forwarding" }

func sourceFilterOf(name string) string { return "ipv4/conf/" + name + "/rp_filter" }

// openForwarding has the host forward what comes in by these interfaces. opened are those that did not forward before.
func openForwarding(interfaces []string) (opened []string, err error) {
	for _, name := range interfaces {
		changed, err := setSysctl(forwardingOf(name), "1")
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			return opened, fmt.Errorf("open forwarding from %s: %w", name, err)
		}
		if changed {
			opened = append(opened, name)
		}
	}
	return opened, nil
}

// closeForwarding has the host forward nothing any more of what comes in by those, unless it forwards all by now.
func closeForwarding(opened []string) error {
	all, err := forwardsAll()
	if err != nil {
		return fmt.Errorf("close forwarding: %w", err)
	}
	if all {
		return nil
	}
	for _, name := range opened {
		if _, err := setSysctl(forwardingOf(name), "0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("close forwarding from %s: %w", name, err)
		}
	}
	return nil
}

func forwardsAll() (bool, error) {
	all, err := readSysctl(forwardingOf("all"))
	return all != "0", err
}

// Values of rp_filter (RFC 3704). The greater of an interface's own value and the value for all interfaces counts.
const (
	noSourceFilter     = "0"
	strictSourceFilter = "1"
	looseSourceFilter  = "2"
)

// loosenSourceFilter has an interface take in what it does not lead back to. filters tells whether sources are looked
// at at all.
func loosenSourceFilter(name string) (changed, filters bool, err error) {
	all, err := readSysctl(sourceFilterOf("all"))
	if err != nil {
		return false, false, err
	}
	own, err := readSysctl(sourceFilterOf(name))
	if err != nil {
		return false, false, err
	}
	if max(all, own) == strictSourceFilter {
		own = looseSourceFilter
		changed, err = setSysctl(sourceFilterOf(name), own)
	}
	return changed, max(all, own) != noSourceFilter, err
}
