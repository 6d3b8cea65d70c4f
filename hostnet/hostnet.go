// Package hostnet keeps the network of the host's kernel as Overlane needs it: one nftables table, the switch's ports
// for the kernel with their addresses, routes, rules of policy routing, sysctls, and an exception in Docker's chains.
// What others have there it neither reads nor touches, but for the chain that Docker leaves to others.
//
// [Look] finds the facts of the machine, [Config] is the whole of what the kernel must be, [Kernel.Set] makes it so,
// [Inspect] reads what is there, and [Kernel.Cleanup] takes all of it away. The nftables table decides which packets
// pass, so it is there before the switch sends any: callers lead no flow to a port that [State] does not name.
package hostnet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/overlane/overlane/internal/ifname"
)

// Ports of the integration bridge that lead to the host's kernel. The switch makes them.
const (
	SNATPort     = ifname.Outside    // for what the switch has translated, and for public addresses of this host
	UnderlayPort = ifname.Underlay   // on an edge, for the addresses of other hosts' endpoints
	EdgePorts    = ifname.EdgePrefix // prefix of the names of the ports to edges, one for each edge
)

// Part is a part of what the kernel does for Overlane.
type Part string

// Parts that a [Condition] can affect.
const (
	TunnelGuard Part = "tunnel guard" // the nftables table
	Exit        Part = "exit"         // from the SNAT port to the outside and back
	Direct      Part = "direct path"  // public traffic over the underlay without a tunnel
)

// Condition is what keeps a part from working, or from working for all of its traffic. What worked before stays as it
// was.
type Condition struct {
	Affects Part
	Err     error // says what to do
}

// State is what works after [Kernel.Set].
type State struct {
	SNATPort     bool     // is routed and guarded
	Edges        []string // hosts that the ports to edges lead to
	UnderlayPort bool     // is routed and guarded

	Opened     []string          // interfaces, sorted, that forward because of Overlane; [New] takes them after a restart
	Dropped    map[string]uint64 // packets since the start, by counter; nil: not known
	Tampered   bool              // somebody else had changed the table; it is put back unless [TunnelGuard] is affected
	Changed    bool              // something was not as the Config says; tests ask, since what is made anew looks the same
	Conditions []Condition
}

// Err joins the errors of the conditions that affect a part; nil if there are none.
func (s State) Err(part Part) error {
	var all []error
	for _, c := range s.Conditions {
		if c.Affects == part {
			all = append(all, c.Err)
		}
	}
	return errors.Join(all...)
}

// Kernel is the one of the network namespace that its methods are called in. It remembers what it has set. Call one
// method at a time.
type Kernel struct {
	set     *Config         // what the table was last written for; nil: it was not since the start
	path    path            // what works of the direct path
	opened  map[string]Part // as in [State], and what it was last used for
	removed struct {        // what certainly is not there: at the start, the process before may have left it
		direct, snat, docker bool
	}

	before  map[string]uint64 // packets that were dropped by the tables before this one
	dropped map[string]uint64 // in all
}

// New takes the interfaces that the last [State] of the process before named as opened.
func New(opened []string) *Kernel {
	k := &Kernel{opened: map[string]Part{}}
	for _, name := range opened {
		k.opened[name] = Exit // nobody knows
	}
	return k
}

// Set makes the kernel what the Config says. It changes nothing where all is as it should be, so call it again and
// again: other programs flush tables and chains. A part that cannot be set is left as it was, and State says why; the
// error means that no kernel could follow the Config. The Config must not change afterwards.
func (k *Kernel) Set(ctx context.Context, c Config) (State, error) {
	if err := c.check(); err != nil {
		return k.state(&setting{}), fmt.Errorf("the host's kernel cannot be so: %w", err)
	}
	s := &setting{Kernel: k, was: k.set, now: c}
	s.run(ctx)
	return k.state(s), nil
}

func (k *Kernel) state(s *setting) State {
	state := State{Opened: slices.Sorted(maps.Keys(k.opened)), Dropped: maps.Clone(k.dropped), Tampered: s.tampered, Changed: s.changed, Conditions: s.conditions}
	if k.set != nil {
		state.SNATPort = k.set.SNAT != nil
	}
	if k.set != nil && k.set.Direct != nil {
		state.Edges, state.UnderlayPort = slices.Clone(k.path.edges), k.path.underlayPort
	}
	return state
}

// Cleanup takes away whatever Set may have made, this process's or an earlier one's. Sysctls of the switch's ports
// stay, since nothing comes in by those any more. The table stays if an interface stays open that only it closes to
// others.
func (k *Kernel) Cleanup(ctx context.Context) error {
	_, err := removeDirectPath()
	err = errors.Join(err, removeSNATPort(), removeFromDocker(ctx))
	_, open := k.closeUnused(nil)
	for _, o := range open {
		err = errors.Join(err, o.Err)
	}
	if open == nil {
		err = errors.Join(err, removeTable())
	}
	if err == nil {
		*k = *New(nil)
	}
	return err
}

// closeUnused closes what forwards because of Overlane, except for these interfaces. What cannot be closed stays known,
// so that the next call tries again.
func (k *Kernel) closeUnused(used []string) (closed bool, open []Condition) {
	for _, name := range slices.Sorted(maps.Keys(k.opened)) {
		if slices.Contains(used, name) {
			continue
		}
		if err := closeForwarding(name); err != nil {
			open = append(open, Condition{k.opened[name], err})
			continue
		}
		delete(k.opened, name)
		closed = true
	}
	return closed, open
}

// setting is one call of [Kernel.Set].
type setting struct {
	*Kernel
	was        *Config
	now        Config    // without what cannot be set
	toOpen     []opening // once the table closes it to others
	tampered   bool
	changed    bool
	conditions []Condition
}

// opening is an interface that is to forward, and what for.
type opening struct {
	part Part
	name string
}

// run sends nothing by a new way before it returns. The table closes an interface to others from before that is opened
// until after it is closed.
func (s *setting) run(ctx context.Context) {
	s.setSNAT()
	s.setDirect()
	written := s.setTable()
	if written {
		s.openForwarding()
	}
	if closed := s.closeForwarding(); closed && written {
		s.setTable()
	}
	if written && (s.now.SNAT != nil || s.now.Direct != nil) {
		changed, err := passDocker(ctx, s.now)
		s.note(Exit, changed, err)
	}
	s.remove(ctx)
}

// remove takes away what an earlier Config asked for, of this process or of the one before. What cannot be removed, the
// next call tries again.
func (s *setting) remove(ctx context.Context) {
	s.removePart(Direct, s.now.Direct != nil, &s.removed.direct, removeDirectPath)
	s.removePart(Exit, s.now.SNAT != nil, &s.removed.snat, func() (bool, error) { return false, removeSNATPort() })
	s.removePart(Exit, s.now.SNAT != nil || s.now.Direct != nil, &s.removed.docker, func() (bool, error) { return false, removeFromDocker(ctx) })
}

func (s *setting) removePart(part Part, wanted bool, removed *bool, remove func() (changed bool, err error)) {
	if wanted {
		*removed = false
	}
	if wanted || *removed {
		return
	}
	changed, err := remove()
	*removed = err == nil
	s.note(part, changed, err)
}

func (s *setting) hadSNAT() bool   { return s.was != nil && s.was.SNAT != nil }
func (s *setting) hadDirect() bool { return s.was != nil && s.was.Direct != nil }

// note keeps what a step has done.
func (s *setting) note(part Part, changed bool, err error) {
	s.changed = s.changed || changed
	if err != nil {
		s.conditions = append(s.conditions, Condition{part, err})
	}
}

// setSNAT has the kernel route what comes by the SNAT port.
func (s *setting) setSNAT() {
	if s.now.SNAT == nil {
		return
	}
	err := s.prepareSNAT()
	if err == nil {
		return
	}
	s.note(Exit, false, err)
	if !s.hadSNAT() {
		s.now.SNAT = nil
		return
	}
	as := *s.now.SNAT
	as.Exits = s.was.SNAT.Exits
	s.now.SNAT = &as
}

func (s *setting) prepareSNAT() error {
	if err := rangeConflict(s.now.Range); err != nil {
		return err
	}
	changed, err := setSNATPort(s.now.Range, s.now.MAC)
	s.changed = s.changed || changed
	if err != nil || !s.now.SNAT.Masquerade {
		return err
	}
	if len(s.now.SNAT.Exits) == 0 {
		return errors.New("this host has no default route, and so no way to the outside itself")
	}
	return s.mayOpen(Exit, s.now.SNAT.Exits...)
}

// setDirect has the kernel route what the table is to let pass without a tunnel.
func (s *setting) setDirect() {
	if s.now.Direct == nil {
		s.path = path{}
		return
	}
	d := *s.now.Direct
	if s.now.SNAT == nil { // which is what they are reached by
		d.Hosted, d.Edges = nil, nil
	}
	s.now.Direct = &d
	underlay, err := findUnderlay(d)
	if err == nil {
		err = s.mayOpen(Direct, d.Underlay)
	}
	if err != nil {
		s.note(Direct, false, wrapDirect(err))
		if d.Underlay = ""; s.hadDirect() {
			d.Underlay = s.was.Direct.Underlay
		} else {
			s.now.Direct = nil
		}
		return
	}
	var changed bool
	s.path, changed, err = setDirectPath(d, s.now.Range, s.now.MAC, underlay)
	s.note(Direct, changed, wrapDirect(err))
}

// mayOpen has [setting.openForwarding] open all of these interfaces, or none if one of them cannot be opened.
func (s *setting) mayOpen(part Part, interfaces ...string) error {
	for _, name := range interfaces {
		if err := mayForward(name); err != nil {
			return err
		}
	}
	for _, name := range interfaces {
		s.toOpen = append(s.toOpen, opening{part, name})
	}
	return nil
}

func (s *setting) openForwarding() {
	for _, o := range s.toOpen {
		changed, err := openForwarding(o.name)
		s.note(o.part, changed, err)
		if _, ours := s.opened[o.name]; ours || changed {
			s.opened[o.name] = o.part
		}
	}
}

// closeForwarding closes what the table that is in force does not lead to.
func (s *setting) closeForwarding() (closed bool) {
	var used []string
	if s.set != nil {
		used = s.set.used()
	}
	closed, open := s.closeUnused(used)
	s.changed = s.changed || closed
	s.conditions = append(s.conditions, open...)
	return closed
}

// setTable reads the counters, and writes the table if that is not as it should be.
func (s *setting) setTable() (written bool) {
	s.now.opened = slices.Sorted(maps.Keys(s.opened))
	counted, err := readCounters()
	if err == nil && s.set != nil {
		err = s.set.table().intact()
	}
	s.tampered = s.tampered || s.set != nil && errors.Is(err, errGone)
	if err == nil {
		s.count(counted)
	}
	replaced := false
	if err == nil && s.set != nil && s.set.table().equal(s.now.table()) {
		s.keep()
		return true
	}
	if err == nil && s.set != nil {
		replaced, err = updateTable(s.set.table(), s.now.table())
	} else if err == nil {
		err = errGone // of this process
	}
	if err != nil {
		replaced, err = true, writeTable(s.now.table())
	}
	if err != nil {
		s.note(TunnelGuard, false, err)
		return false
	}
	s.keep()
	if s.changed = true; replaced {
		s.before = s.dropped
	}
	return true
}

// keep remembers what the table is for.
func (s *setting) keep() {
	now := s.now
	s.set = &now
}

// count adds up what this table has dropped and what those before have.
func (s *setting) count(counted map[string]uint64) {
	all := maps.Clone(s.before)
	if all == nil {
		all = map[string]uint64{}
	}
	for name, n := range counted {
		all[name] += n
	}
	s.dropped = all
}
