package drill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/model"
)

// Kind is a sort of failure.
type Kind struct {
	Name    string
	Short   string
	Designs []string // that it is for
	Modes   []string // in which it may come, the default first; none: there is but one
	alarms  bool     // tunnels that are taken for dead are counted, for none is
	plan    func(target) failure
}

// Modes in which a host fails.
const (
	Process = "process"
	Link    = "link"
	Power   = "power"
)

var (
	hostModes    = []string{Process, Link, Power}
	byBorderHost = []string{model.Central, model.Distributed} // the designs that have border hosts
)

// Kinds are all.
var Kinds = []Kind{
	{Name: "gateway", Short: "the gateway that carries the probe dies", Designs: []string{model.Central}, Modes: hostModes, plan: loseHost},
	{Name: "edge", Short: "the edge that carries the probe dies", Designs: []string{model.Distributed}, Modes: hostModes, plan: loseHost},
	{Name: "uplink", Short: "that gateway's or edge's cable to the upstream network is pulled", Designs: byBorderHost, plan: loseUplink},
	{Name: "underlay", Short: "that gateway's or edge's cable to the underlay is pulled", Designs: byBorderHost, plan: loseUnderlay},
	{Name: "drain", Short: "that gateway or edge is drained, for maintenance", Designs: byBorderHost, plan: drain},
	{Name: "agent", Short: "the agent of the endpoint's host is killed", Designs: Designs, plan: loseAgent},
	{Name: "server", Short: "the overlane server is killed", Designs: Designs, plan: loseServer},
	{Name: "ovs", Short: "Open vSwitch restarts on the endpoint's host", Designs: Designs, plan: restartOVS},
	{Name: "load", Short: "nothing fails, but all is sent that can be; tunnels that are taken for dead are counted", Designs: byBorderHost, alarms: true, plan: fullLoad},
}

// KindNamed finds one by its name.
func KindNamed(name string) (Kind, error) {
	var names []string
	for _, k := range Kinds {
		if k.Name == name {
			return k, nil
		}
		names = append(names, k.Name)
	}
	return Kind{}, fmt.Errorf("there is no drill %q; there are %s", name, strings.Join(names, ", "))
}

// check refuses what the kind is not for.
func (k Kind) check(design, mode string) error {
	if !slices.Contains(k.Designs, design) {
		return fmt.Errorf("drill %s is not for the design %q; it is for %s", k.Name, design, strings.Join(k.Designs, ", "))
	}
	if mode != "" && !slices.Contains(k.Modes, mode) {
		if len(k.Modes) == 0 {
			return fmt.Errorf("drill %s comes in one way only, not by %q", k.Name, mode)
		}
		return fmt.Errorf("drill %s does not come by %q; it comes by %s", k.Name, mode, strings.Join(k.Modes, ", "))
	}
	return nil
}

// target is what a failure may strike.
type target struct {
	*lab.Lab
	host   *lab.Host // the endpoint's
	border borderHost
	mode   string

	directions []*direction
}

// failure is what is done to the lab, and its end.
type failure struct {
	what   string
	do     func(context.Context) error
	undone string                      // what undo does
	undo   func(context.Context) error // nil: it has ended when do returns
}

func loseHost(t target) failure {
	h := t.border.Host
	switch t.mode {
	case Link:
		return cables(t, "every cable", "eth0", t.border.nic)
	case Power:
		return losePower(t)
	}
	return failure{
		what: h.Name + ": ovs-vswitchd, ovsdb-server and agent are killed",
		do: func(ctx context.Context) error {
			return errors.Join(h.KillOVS(ctx), h.KillAgent(ctx, syscall.SIGKILL))
		},
		undone: h.Name + ": Open vSwitch and agent start",
		undo: func(ctx context.Context) error {
			return errors.Join(h.RunOVS(ctx), h.StartAgent(ctx))
		},
	}
}

func losePower(t target) failure {
	name := t.border.Name
	spec := t.File.Hosts[slices.IndexFunc(t.File.Hosts, func(h lab.HostSpec) bool { return h.Name == name })]
	return failure{
		what:   name + " is powered off",
		do:     func(ctx context.Context) error { return t.RemoveHost(ctx, name) },
		undone: name + " is installed anew, and joins",
		undo: func(ctx context.Context) error {
			_, err := t.AddHost(ctx, spec)
			return err
		},
	}
}

func loseUplink(t target) failure { return cables(t, "the cable upstream", t.border.nic) }

func loseUnderlay(t target) failure { return cables(t, "the cable to the underlay", "eth0") }

func cables(t target, which string, nics ...string) failure {
	set := func(up bool) func(context.Context) error {
		return func(context.Context) (err error) {
			for _, nic := range nics {
				err = errors.Join(err, t.border.SetLink(nic, up))
			}
			return err
		}
	}
	return failure{what: t.border.Name + ": " + which + " is pulled", do: set(false), undone: t.border.Name + ": " + which + " is plugged in", undo: set(true)}
}

func drain(t target) failure {
	name := t.border.Name
	command := func(flags ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := t.Host(t.File.Server).Exec(ctx, append([]string{"overlane", "host", "drain", name}, flags...)...)
			return err
		}
	}
	return failure{what: name + " is drained", do: command(), undone: name + " is not drained any more", undo: command("--undo")}
}

func loseAgent(t target) failure {
	return failure{
		what:   t.host.Name + ": the agent is killed",
		do:     func(ctx context.Context) error { return t.host.KillAgent(ctx, syscall.SIGKILL) },
		undone: t.host.Name + ": the agent starts",
		undo:   t.host.StartAgent,
	}
}

func loseServer(t target) failure {
	name := t.File.Server
	return failure{
		what:   name + ": the server is killed",
		do:     func(ctx context.Context) error { return t.Server.Kill(ctx, syscall.SIGKILL) },
		undone: name + ": the server starts",
		undo:   t.Server.Start,
	}
}

func restartOVS(t target) failure {
	return failure{what: t.host.Name + ": Open vSwitch restarts", do: t.host.RestartOVS}
}
