package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// counters are packets of an interface since it is there.
type counters struct{ in, out uint64 }

// read reads what the kernel has counted on the border host's NIC, whoever forwards.
func (b borderHost) read() (c counters, err error) {
	data, err := os.ReadFile(b.Root() + "/proc/1/net/dev")
	if err != nil {
		return c, err
	}
	return parseCounters(string(data), b.nic)
}

// parseCounters reads a line of /proc/net/dev: name, then bytes, packets and six more that came in, and as many that
// went out.
func parseCounters(text, nic string) (c counters, err error) {
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != nic {
			continue
		}
		var other [7]uint64
		_, err := fmt.Sscan(rest, &other[0], &c.in, &other[1], &other[2], &other[3], &other[4], &other[5], &other[6], new(uint64), &c.out)
		return c, err
	}
	return c, fmt.Errorf("there is no interface %s", nic)
}

// watchTime is how long counters are watched, in which a probe sends tens of packets.
const watchTime = 300 * time.Millisecond

// carriers are the border hosts by which the requests of the one probe that runs come in and go out. Its answers may
// take others.
func (p path) carriers(ctx context.Context) (in, out borderHost, err error) {
	before := make([]counters, len(p.borders))
	for i, border := range p.borders {
		if before[i], err = border.read(); err != nil {
			return in, out, fmt.Errorf("%s: %w", border.Name, err)
		}
	}
	select {
	case <-ctx.Done():
		return in, out, ctx.Err()
	case <-time.After(watchTime):
	}
	var most counters
	for i, border := range p.borders {
		now, err := border.read()
		if err != nil {
			return in, out, fmt.Errorf("%s: %w", border.Name, err)
		}
		if n := now.in - before[i].in; n > most.in {
			most.in, in = n, border
		}
		if n := now.out - before[i].out; n > most.out {
			most.out, out = n, border
		}
	}
	if least := uint64(watchTime/probeEvery) / 2; most.in < least || most.out < least {
		return in, out, errors.New("the probe comes back, and no gateway or edge counts it")
	}
	return in, out, nil
}

// portTries bounds the search for a port: with two border hosts, each try is as good as a coin.
const portTries = 16

// steadyTime is how long a probe must have kept its border host. One that has just come back takes probes over somewhat
// later.
const steadyTime = time.Second

// steadyAim aims until the same comes out twice.
func (p path) steadyAim(ctx context.Context, in, out *direction) (struck borderHost, err error) {
	if struck, err = p.aim(ctx, in, out); err != nil || len(p.borders) == 0 {
		return struck, err
	}
	for deadline := time.Now().Add(patience); ; {
		if err := pause(ctx, steadyTime); err != nil {
			return struck, err
		}
		again, err := p.aim(ctx, in, out)
		if err != nil || again == struck {
			return again, err
		}
		if struck = again; time.Now().After(deadline) {
			return struck, fmt.Errorf("after %s the probes still change gateways or edges", patience)
		}
	}
}

// aim proves that both directions work, and finds the border host of the outbound probe, and a port by which the
// inbound one takes it, too. Open vSwitch chooses by UDP's addresses alone, so only the router can be made to choose
// otherwise.
func (p path) aim(ctx context.Context, in, out *direction) (struck borderHost, err error) {
	if err := p.try(ctx, out, func(_, carrier borderHost) { struck = carrier }); err != nil || in == nil {
		return struck, err
	}
	for range portTries {
		var came borderHost
		if err := p.try(ctx, in, func(carrier, _ borderHost) { came = carrier }); err != nil || came == struck {
			return struck, err
		}
		in.port++
	}
	return struck, fmt.Errorf("of %d inbound probes none takes %s, by which outbound ones go", portTries, struck.Name)
}

// try runs the probe of a direction for a moment, and tells of its carriers if the path has border hosts.
func (p path) try(ctx context.Context, d *direction, carriers func(in, out borderHost)) error {
	trial := *d
	trial.record = newRecord(0)
	if err := trial.startProbe(ctx); err != nil {
		return err
	}
	err := trial.works(ctx)
	if err == nil && len(p.borders) == 0 {
		carriers(borderHost{}, borderHost{})
	} else if err == nil {
		var in, out borderHost
		if in, out, err = p.carriers(ctx); err == nil {
			carriers(in, out)
		}
	}
	return errors.Join(err, trial.stop())
}
