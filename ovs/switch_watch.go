package ovs

import (
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/openflow"
)

// DriftEvent says that another program has changed, or may have changed, a flow, group or meter of ours. The receiver
// must read the switch back: one event may stand for several changes.
type DriftEvent struct {
	What string // for people: "flow removed: table=3,priority=100,arp"
}

// Drift receives an event when others change our flows, groups or meters. One event is buffered and stands for the
// events after it. Our own changes cause no event, with one exception: while the switch is behind with its updates.
func (s *Switch) Drift() <-chan DriftEvent { return s.drift }

func (s *Switch) noteDrift(what string) {
	select {
	case s.drift <- DriftEvent{what}:
	default:
	}
}

func (s *Switch) noteUpdates(m openflow.MonitorReply) {
	for _, u := range m.Updates {
		if key, concerned := s.concernsUs(u); concerned {
			s.noteDrift(fmt.Sprintf("flow %s: %s", u.Event, key))
			return
		}
	}
}

// concernsUs looks at the cookie and, because a flow that replaces ours may have any, at the key.
func (s *Switch) concernsUs(u openflow.FlowUpdate) (key string, concerned bool) {
	if u.Event >= openflow.MonitorOwn {
		return "", false
	}
	match, err := openflow.DecodeMatch(u.RawMatch)
	if err != nil {
		return fmt.Sprintf("table=%d,priority=%d: %v", u.Table, u.Priority, err), ourFlow(u.Cookie)
	}
	k := flow.Flow{Table: u.Table, Priority: u.Priority, Match: match}.Key()
	return k.String(), ourFlow(u.Cookie) || s.ours.has(k)
}

// keySet is a set of keys, kept as hashes: a collision costs a needless read-back.
type keySet struct {
	mu     sync.Mutex
	seed   maphash.Seed
	hashes map[uint64]struct{}
}

func newKeySet() *keySet { return &keySet{seed: maphash.MakeSeed(), hashes: map[uint64]struct{}{}} }

func (k *keySet) hash(key flow.Key) uint64 { return maphash.Comparable(k.seed, key) }

func (k *keySet) add(key flow.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hashes[k.hash(key)] = struct{}{}
}

func (k *keySet) remove(key flow.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.hashes, k.hash(key))
}

func (k *keySet) has(key flow.Key) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.hashes[k.hash(key)]
	return ok
}

// noteForward handles changes of groups and meters by others.
func (s *Switch) noteForward(m openflow.RequestForward) {
	if command, id, ok := m.Group(); ok && (ourGroup(id) || id == openflow.AllGroups) {
		s.noteDrift(fmt.Sprintf("group %#x %s", id, command))
	}
	if command, id, ok := m.Meter(); ok && (ourMeter(id) || id == openflow.AllMeters) {
		s.noteDrift(fmt.Sprintf("meter %#x %s", id, command))
	}
}
