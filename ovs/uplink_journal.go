package ovs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"

	"github.com/overlane/overlane/internal/atomicfile"
	"github.com/overlane/overlane/internal/nlerr"
)

// journal has all that it takes to roll a move back, and to repair a move after a loss. Confirmed is false while a move
// is under way: a process that starts and finds such a journal must roll the move back.
type journal struct {
	NIC       string   `json:"nic"`
	MAC       string   `json:"mac"`
	Confirmed bool     `json:"confirmed"`
	Settings  settings `json:"settings"` // of the NIC, before
	inventory
}

// newJournal records the addresses, routes and settings of the NIC. Addresses that an earlier move took off the NIC
// come from the bridge or, if they are lost, from that move's journal.
func newJournal(nic netlink.Link, old *journal) (*journal, error) {
	now, err := takeInventory(nic.Attrs().Name, UplinkBridge)
	if err != nil {
		return nil, err
	}
	j := &journal{NIC: nic.Attrs().Name, MAC: nic.Attrs().HardwareAddr.String(), inventory: now}
	if j.Settings, err = readSettings(nic); err != nil {
		return nil, err
	}
	if old != nil && silenced(nic) { // by the earlier move
		j.Settings = old.Settings
	}
	if old != nil && now.empty() {
		j.inventory = old.inventory
	}
	if j.empty() {
		return nil, errors.New("it has no address to move; an uplink is the interface with the address of this host's tunnels")
	}
	return j, nil
}

// settled reports whether all addresses and routes are on the bridge, and none on the NIC.
func (j *journal) settled() bool {
	nic, err := netlink.LinkByName(j.NIC)
	if err != nil || !silenced(nic) {
		return false
	}
	left, err := takeInventory(j.NIC)
	if err != nil || !left.empty() {
		return false
	}
	has, err := takeInventory(UplinkBridge)
	return err == nil && has.contains(j.inventory)
}

// moveThere moves addresses and routes from the NIC to the bridge's interface.
func (j *journal) moveThere() error {
	nic, bridge, err := bothLinks(j.NIC)
	if err != nil {
		return err
	}
	if bridge == nil {
		return fmt.Errorf("interface %s is not there", UplinkBridge)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("set %s up: %w", UplinkBridge, err)
	}
	if err := j.move(nic, bridge); err != nil {
		return err
	}
	return silence(nic)
}

// putBack is the opposite. It works without Open vSwitch.
func (j *journal) putBack() error {
	nic, bridge, err := bothLinks(j.NIC)
	if err != nil {
		return err
	}
	if err := j.Settings.apply(nic); err != nil {
		return err
	}
	return j.move(bridge, nic)
}

// bothLinks gives a nil bridge if it does not exist.
func bothLinks(name string) (nic, bridge netlink.Link, err error) {
	if nic, err = netlink.LinkByName(name); err != nil {
		return nil, nil, fmt.Errorf("find %s: %w", name, err)
	}
	bridge, err = netlink.LinkByName(UplinkBridge)
	if nlerr.NotFound(err) {
		return nic, nil, nil
	}
	return nic, bridge, err
}

// readJournal gives nil if the file does not exist.
func readJournal(path string) (*journal, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read uplink journal: %w", err)
	}
	j := &journal{}
	if err := json.Unmarshal(data, j); err != nil {
		return nil, fmt.Errorf("read uplink journal %s: %w", path, err)
	}
	return j, nil
}

// write replaces the file in one step, and returns when it is on the disk.
func (j *journal) write(path string) error {
	data, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
		err = atomicfile.Write(path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write uplink journal: %w", err)
	}
	return nil
}

func removeJournal(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove uplink journal: %w", err)
	}
	return nil
}
