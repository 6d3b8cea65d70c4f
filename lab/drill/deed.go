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
	Hows    []string // by which it may come, the default first; none: there is but one
	passage bool     // it strikes the passage of the probe
	alarms  bool     // tunnels that are taken for dead are counted, for none is
	plan    func(target) deed
}

// The ways in which a host fails.
const (
	Process = "process"
	Link    = "link"
	Power   = "power"
)

var hows = []string{Process, Link, Power}

// Kinds are all.
var Kinds = []Kind{
	{"gateway", "the gateway that carries the probe dies", []string{model.Central}, hows, true, false, loseHost},
	{"edge", "the edge that carries the probe dies", []string{model.Distributed}, hows, true, false, loseHost},
	{"uplink", "that gateway's or edge's cable to the upstream network is pulled", []string{model.Central, model.Distributed}, nil, true, false, loseUplink},
	{"underlay", "that gateway's or edge's cable to the underlay is pulled", []string{model.Central, model.Distributed}, nil, true, false, loseUnderlay},
	{"drain", "that gateway or edge is drained, for maintenance", []string{model.Central, model.Distributed}, nil, true, false, drain},
	{"agent", "the agent of the endpoint's host is killed", Designs, nil, false, false, loseAgent},
	{"server", "the overlane server is killed", Designs, nil, false, false, loseServer},
	{"ovs", "Open vSwitch restarts on the endpoint's host", Designs, nil, false, false, restartOVS},
	{"load", "nothing fails, but all is sent that can be; tunnels that are taken for dead are counted", []string{model.Central, model.Distributed}, nil, false, true, fullLoad},
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
func (k Kind) check(design, how string) error {
	if !slices.Contains(k.Designs, design) {
		return fmt.Errorf("drill %s is not for the design %q; it is for %s", k.Name, design, strings.Join(k.Designs, ", "))
	}
	if how != "" && !slices.Contains(k.Hows, how) {
		if len(k.Hows) == 0 {
			return fmt.Errorf("drill %s comes in one way only, not by %q", k.Name, how)
		}
		return fmt.Errorf("drill %s does not come by %q; it comes by %s", k.Name, how, strings.Join(k.Hows, ", "))
	}
	return nil
}

// target is what a failure may strike.
type target struct {
	*lab.Lab
	host    *lab.Host // the endpoint's
	passage passage
	how     string

	directions []*direction
}

// deed is a failure, and its end.
type deed struct {
	what   string
	do     func(context.Context) error
	undone string                      // what undo does
	undo   func(context.Context) error // nil: it has ended when do returns
}

func loseHost(t target) deed {
	h := t.passage.Host
	switch t.how {
	case Link:
		return cables(t, "every cable", "eth0", t.passage.nic)
	case Power:
		return losePower(t)
	}
	return deed{
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

func losePower(t target) deed {
	name := t.passage.Name
	spec := t.File.Hosts[slices.IndexFunc(t.File.Hosts, func(h lab.HostSpec) bool { return h.Name == name })]
	return deed{
		what:   name + " is powered off",
		do:     func(ctx context.Context) error { return t.RemoveHost(ctx, name) },
		undone: name + " is installed anew, and joins",
		undo: func(ctx context.Context) error {
			_, err := t.AddHost(ctx, spec)
			return err
		},
	}
}

func loseUplink(t target) deed { return cables(t, "the cable upstream", t.passage.nic) }

func loseUnderlay(t target) deed { return cables(t, "the cable to the underlay", "eth0") }

func cables(t target, which string, nics ...string) deed {
	set := func(up bool) func(context.Context) error {
		return func(context.Context) (err error) {
			for _, nic := range nics {
				err = errors.Join(err, t.passage.SetLink(nic, up))
			}
			return err
		}
	}
	return deed{t.passage.Name + ": " + which + " is pulled", set(false), t.passage.Name + ": " + which + " is plugged in", set(true)}
}

func drain(t target) deed {
	name := t.passage.Name
	command := func(flags ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := t.Host(t.File.Server).Exec(ctx, append([]string{"overlane", "host", "drain", name}, flags...)...)
			return err
		}
	}
	return deed{name + " is drained", command(), name + " is not drained any more", command("--undo")}
}

func loseAgent(t target) deed {
	return deed{
		t.host.Name + ": the agent is killed", func(ctx context.Context) error { return t.host.KillAgent(ctx, syscall.SIGKILL) },
		t.host.Name + ": the agent starts", t.host.StartAgent,
	}
}

func loseServer(t target) deed {
	name := t.File.Server
	return deed{
		name + ": the server is killed", func(ctx context.Context) error { return t.Server.Kill(ctx, syscall.SIGKILL) },
		name + ": the server starts", t.Server.Start,
	}
}

func restartOVS(t target) deed {
	return deed{what: t.host.Name + ": Open vSwitch restarts", do: t.host.RestartOVS}
}
