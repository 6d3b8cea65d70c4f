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

// mayForward tells why an interface cannot be made to forward, if so. It changes nothing.
func mayForward(name string) error {
	has, err := readSysctl(forwardingOf(name))
	if errors.Is(err, fs.ErrNotExist) || err == nil && has == "1" {
		return nil
	}
	var f *os.File
	if err == nil {
		f, err = os.OpenFile("/proc/sys/net/"+forwardingOf(name), os.O_WRONLY, 0)
	}
	if err != nil {
		return wrapOpen(name, err)
	}
	return f.Close()
}

// openForwarding has the host forward what comes in by an interface. changed tells that it did not before.
func openForwarding(name string) (changed bool, err error) {
	changed, err = setSysctl(forwardingOf(name), "1")
	if errors.Is(err, fs.ErrNotExist) { // gone meanwhile
		return false, nil
	}
	return changed && err == nil, wrapOpen(name, err)
}

func wrapOpen(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("open forwarding from %s: %w", name, err)
}

// closeForwarding has the host forward nothing any more of what comes in by an interface, unless it forwards all now.
func closeForwarding(name string) error {
	all, err := forwardsAll()
	if err == nil && !all {
		_, err = setSysctl(forwardingOf(name), "0")
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("close forwarding from %s: %w", name, err)
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
