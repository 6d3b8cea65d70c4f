package hostnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// exitsBy leaves by these interfaces, on a host that does not forward for others.
func exitsBy(exits ...string) Config {
	c := snatConfig()
	c.ForwardsAll, c.SNAT.Exits = false, exits
	return c
}

// twoWays is a host with two interfaces that may lead outside.
func twoWays(t *testing.T) {
	t.Helper()
	onUnderlay(t, wire("eth1")+"ip link set eth1 up\n"+snatWire+underlayWire)
}

// mustForward compares what forwards, what State tells of it, and what the table closes to others.
func mustForward(t *testing.T, s State, open, closedToOthers []string) {
	t.Helper()
	var got []string
	for _, name := range []string{"eth0", "eth1"} {
		if run(t, "sysctl", "-n", "net.ipv4.conf."+name+".forwarding") == "1" {
			got = append(got, name)
		}
	}
	if !slices.Equal(got, open) || !slices.Equal(s.Opened, open) {
		t.Errorf("%v forward, and %v were opened; want %v", got, s.Opened, open)
	}
	var closed []string
	for _, line := range inspect(t).Table {
		if names, ok := strings.CutPrefix(line, "set closed: "); ok {
			closed = strings.Fields(names)
		}
	}
	if !slices.Equal(closed, closedToOthers) {
		t.Errorf("the table closes %v to others, want %v", closed, closedToOthers)
	}
}

// An interface that is no longer used forwards no more, whatever becomes of the rest.
func TestOnlyWhatIsUsedForwards(t *testing.T) {
	unmasked := directConfig()
	unmasked.Direct.Edges = nil
	twoWays(t)
	k := New(nil)
	for _, step := range []struct {
		what string
		c    Config
		open []string
	}{
		{"one exit", exitsBy("eth0"), []string{"eth0"}},
		{"another exit", exitsBy("eth1"), []string{"eth1"}},
		{"one more", exitsBy("eth0", "eth1"), []string{"eth0", "eth1"}},
		{"the other one again", exitsBy("eth1"), []string{"eth1"}},
		{"public addresses, and no VPC leaves", unmasked, []string{"eth0"}},
		{"an exit once more", exitsBy("eth1"), []string{"eth1"}},
		{"an edge without SNAT", edgeConfig(), []string{"eth0"}},
		{"two exits", exitsBy("eth0", "eth1"), []string{"eth0", "eth1"}},
		{"nothing", guardConfig(), nil},
	} {
		t.Log(step.what)
		s := mustSet(t, k, step.c, true)
		mustForward(t, s, step.open, step.open)
		mustSet(t, k, step.c, false)
	}
	mustSet(t, New(nil), exitsBy("eth0"), true)
	mustForward(t, mustSet(t, New([]string{"eth0"}), exitsBy("eth1"), true), []string{"eth1"}, []string{"eth1"})
}

// The table lets go of an interface once that is closed, and not before.
func TestWhatCannotBeClosedStaysClosedToOthers(t *testing.T) {
	for name, m := range map[string]struct {
		was, now Config
		part     Part
		closed   []string
	}{
		"another exit":          {exitsBy("eth0"), exitsBy("eth1"), Exit, []string{"eth0", "eth1"}},
		"nothing":               {exitsBy("eth0"), guardConfig(), Exit, []string{"eth0"}},
		"another underlay":      {edgeConfig(), edgeBy("eth1"), Direct, []string{"eth0", "eth1"}},
		"no public traffic":     {edgeConfig(), guardConfig(), Direct, []string{"eth0"}},
		"an exit, and no edge":  {edgeConfig(), exitsBy("eth1"), Direct, []string{"eth0", "eth1"}},
		"an edge, and no exits": {exitsBy("eth0"), edgeBy("eth1"), Exit, []string{"eth0", "eth1"}},
	} {
		t.Run(name, func(t *testing.T) {
			twoWays(t)
			k := New(nil)
			mustSet(t, k, m.was, true)
			release := readOnly(t, "eth0")
			for range 2 {
				s, err := k.Set(t.Context(), m.now)
				told := s.Err(m.part)
				if err != nil || len(s.Conditions) != 1 || told == nil || !strings.Contains(told.Error(), "close forwarding from eth0") {
					t.Errorf("%v, %+v", err, s.Conditions)
				}
				mustForward(t, s, m.closed, m.closed)
				if got := strings.Join(inspect(t).Table, "\n"); !strings.Contains(got, "iifname in @closed") {
					t.Errorf("anybody may use what is open:\n%s", got)
				}
			}
			release()
			only := slices.DeleteFunc(slices.Clone(m.closed), func(n string) bool { return n == "eth0" })
			mustForward(t, mustSet(t, k, m.now, true), only, only)
			mustSet(t, k, m.now, false)
		})
	}
}

func edgeBy(underlay string) Config {
	c := edgeConfig()
	c.Direct.Underlay = underlay
	for i := range c.Direct.Remote {
		c.Direct.Remote[i].Adjacent = false // the test has no network there
		c.Direct.Remote[i].Routed = true
	}
	return c
}

func TestCleanupKeepsTheTableWhileItIsNeeded(t *testing.T) {
	twoWays(t)
	k := New(nil)
	mustSet(t, k, exitsBy("eth0"), true)
	release := readOnly(t, "eth0")
	if err := k.Cleanup(t.Context()); err == nil || !strings.Contains(err.Error(), "close forwarding from eth0") {
		t.Error(err)
	}
	mustForward(t, k.state(&setting{}), []string{"eth0"}, []string{"eth0"})
	release()
	if err := k.Cleanup(t.Context()); err != nil {
		t.Error(err)
	}
	mustForward(t, k.state(&setting{}), nil, nil)
	if got := inspect(t).Table; got != nil {
		t.Errorf("the table is\n%s", strings.Join(got, "\n"))
	}
	mustForward(t, mustSet(t, k, exitsBy("eth1"), true), []string{"eth1"}, []string{"eth1"})
}

// What no table closes to others is not opened, not even until the table turns out to be somebody else's.
func TestNothingIsOpenedBeforeTheTable(t *testing.T) {
	twoWays(t)
	k, edge := New(nil), New(nil)
	mustSet(t, k, exitsBy("eth0"), true)
	release := takeTable(t)
	changes := forwardingChanges(t)
	for name, m := range map[string]struct {
		*Kernel
		next   Config
		opened []string
	}{"another exit": {k, exitsBy("eth1"), []string{"eth0"}}, "an underlay": {edge, edgeBy("eth1"), nil}} {
		s, err := m.Set(t.Context(), m.next)
		if err != nil || len(s.Conditions) != 1 || s.Err(TunnelGuard) == nil || !slices.Equal(s.Opened, m.opened) {
			t.Errorf("%s: %v, %+v", name, err, s)
		}
	}
	if n := changes("eth0") + changes("eth1"); n > 0 {
		t.Errorf("forwarding has changed %d times", n)
	}
	release()
	mustForward(t, mustSet(t, k, exitsBy("eth1"), true), []string{"eth1"}, []string{"eth1"})
	if changes("eth1") == 0 {
		t.Error("the test hears of no change")
	}
}

// What cannot be opened leaves a part as it was.
func TestWhatCannotBeOpenedIsNotUsed(t *testing.T) {
	twoWays(t)
	release := readOnly(t, "eth1")
	defer release()
	k := New(nil)
	s, err := k.Set(t.Context(), exitsBy("eth1"))
	if told := s.Err(Exit); err != nil || s.SNATPort || told == nil || !strings.Contains(told.Error(), "open forwarding from eth1") {
		t.Errorf("%v, %+v", err, s)
	}
	mustForward(t, s, nil, nil)
	mustSet(t, k, exitsBy("eth0"), true)
	s, err = k.Set(t.Context(), exitsBy("eth0", "eth1"))
	if err != nil || !s.SNATPort || s.Err(Exit) == nil {
		t.Errorf("%v, %+v", err, s)
	}
	mustForward(t, s, []string{"eth0"}, []string{"eth0"})
	mustSet(t, k, edgeConfig(), true)
	s, err = k.Set(t.Context(), edgeBy("eth1"))
	told := s.Err(Direct)
	if err != nil || !s.UnderlayPort || told == nil || !strings.Contains(told.Error(), "public traffic over the underlay: open forwarding from eth1") {
		t.Errorf("%v, %+v", err, s)
	}
	mustForward(t, s, []string{"eth0"}, []string{"eth0"})
}

// readOnly keeps everybody from changing whether an interface forwards, for the thread of the test.
func readOnly(t *testing.T, name string) (release func()) {
	t.Helper()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	file := "/proc/sys/net/" + forwardingOf(name)
	runAll(t, fmt.Sprintf("mount --make-rprivate /\nmount --bind %[1]s %[1]s\nmount -o remount,bind,ro %[1]s\n", file))
	return func() { run(t, "umount", file) }
}

// takeTable puts a table of the same name in the place of ours, which nobody can remove before release.
func takeTable(t *testing.T) (release func()) {
	t.Helper()
	nft := exec.CommandContext(t.Context(), "nft", "-i")
	in, err := nft.StdinPipe()
	if err == nil {
		err = nft.Start()
	}
	if err == nil {
		_, err = fmt.Fprint(in, "delete table ip overlane\nadd table ip overlane { flags owner; }\n")
	}
	for end := time.Now().Add(10 * time.Second); err == nil && !strings.Contains(run(t, "nft", "list", "ruleset"), "owner"); {
		if time.Now().After(end) {
			err = errors.New("the table is not taken")
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = in.Close()
		_ = nft.Wait()
	}
}

// forwardingChanges counts what the kernel tells of changes in whether an interface forwards.
func forwardingChanges(t *testing.T) (of func(name string) int) {
	t.Helper()
	c, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Groups: 1 << (unix.RTNLGRP_IPV4_NETCONF - 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	changes := map[int]int{} // by index
	return func(name string) int {
		for {
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)) // the kernel has told before a write returns
			messages, err := c.Receive()
			if err != nil {
				break
			}
			for _, m := range messages {
				if index := forwardingIn(t, m); index != 0 {
					changes[index]++
				}
			}
		}
		link, err := net.InterfaceByName(name)
		if err != nil {
			t.Fatal(err)
		}
		return changes[link.Index]
	}
}

// forwardingIn gives the interface of a message (linux/netconf.h), if it tells of forwarding; else 0.
func forwardingIn(t *testing.T, m netlink.Message) (index int) {
	t.Helper()
	const header, ifIndex, forwarding = 4, 1, 2
	attributes, err := netlink.UnmarshalAttributes(m.Data[header:])
	if err != nil {
		t.Fatal(err)
	}
	tells := false
	for _, a := range attributes {
		switch a.Type {
		case ifIndex:
			index = int(binary.NativeEndian.Uint32(a.Data))
		case forwarding:
			tells = true
		}
	}
	if !tells {
		return 0
	}
	return index
}
