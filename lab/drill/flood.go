package drill

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Alarms are what the hosts' switches have found of each other by BFD in a drill in which nothing fails.
type Alarms struct {
	Ends   int `json:"ends"`   // of watched tunnels
	Deaths int `json:"deaths"` // how often one has taken its tunnel for dead
}

// floods are connections, in each direction, that send as much as they can.
const floods = 4

// fullLoad is no failure: all that the machine can carry is sent.
func fullLoad(t target) failure {
	var running []*peer
	return failure{
		what: fmt.Sprintf("%d connections more send all that they can", floods*len(t.directions)),
		do: func(ctx context.Context) error {
			for _, d := range t.directions {
				p, err := d.from.startPeer(ctx, func(Event) {}, "flood", d.to.String(), "--connections", strconv.Itoa(floods))
				if err != nil {
					return err
				}
				running = append(running, p)
			}
			return nil
		},
		undone: "they end",
		undo: func(context.Context) (err error) {
			for _, p := range running {
				err = errors.Join(err, p.stop())
			}
			running = nil
			return err
		},
	}
}

// flaps are, for each end of a watched tunnel, how often what it finds of the other one has changed.
func (r *run) flaps(ctx context.Context) (map[string]int, error) {
	all := map[string]int{}
	for _, spec := range r.lab.File.Hosts {
		out, err := r.lab.Host(spec.Name).Vsctl(ctx, "--bare", "--columns=name,bfd_status", "find", "interface", "bfd:enable=true")
		if err != nil {
			return nil, err
		}
		for end := range strings.SplitSeq(out, "\n\n") {
			name, status, _ := strings.Cut(end, "\n")
			_, count, ok := strings.Cut(status, "flap_count=")
			if !ok {
				continue
			}
			count, _, _ = strings.Cut(strings.TrimSpace(count), " ")
			n, err := strconv.Atoi(count)
			if err != nil {
				return nil, fmt.Errorf("%s: bfd_status of %s: %w", spec.Name, name, err)
			}
			all[spec.Name+" "+name] = n
		}
	}
	return all, nil
}

// alarms are the alarms raised while something is done.
func (r *run) alarms(ctx context.Context, do func() error) (*Alarms, error) {
	before, err := r.flaps(ctx)
	if err == nil {
		err = do()
	}
	if err != nil {
		return nil, err
	}
	now, err := r.flaps(ctx)
	if err != nil {
		return nil, err
	}
	a := &Alarms{Ends: len(now)}
	for end, n := range now {
		a.Deaths += (n - before[end] + 1) / 2 // dead, and alive again
	}
	return a, nil
}
