package agent

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/hostnet"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// countEvery spares the switch: counting walks its tables.
const countEvery = 10 * time.Second

// dropBusy is the name of packets that the switch has handed to the agent, which was too busy to take them: answers to
// its probes, say.
const dropBusy = "agent-busy"

// dropUntracked is the name of packets that the kernel's conntrack drops because it cannot remember their connections.
// On the kernel's datapath a packet that finds no port is lost there, and no flow gets to see it. The kernel counts for
// the host as a whole.
const dropUntracked = "conntrack-full"

// counters are what the switch and the kernel have counted, as last read. Without a switch they stay as they were.
type counters struct {
	log       *slog.Logger
	at        time.Time         // when they were read
	drops     map[string]uint64 // packets, by the name of what has dropped them
	foreign   int               // flows of others in our bridge
	untracked *uint64           // that conntrack had dropped when this agent first looked; nil: it has not
}

// due tells that the counters are old.
func (c *counters) due(now time.Time) bool { return now.Sub(c.at) >= countEvery }

// read reads the counters of a switch that has the flows of view and wiring. Conntrack counts on the kernel's datapath.
func (c *counters) read(ctx context.Context, sw *ovs.Switch, v *view.View, w dataplane.Wiring, datapath string) {
	names := dataplane.DropCounters(v, w)
	counts, err := sw.FlowCounts(ctx, slices.Collect(maps.Keys(names))...)
	if err != nil {
		c.log.Warn("read drop counters", "err", err)
		return
	}
	if c.foreign, err = sw.ForeignFlows(ctx); err != nil {
		c.log.Warn("count flows of others", "err", err)
	}
	c.drops, c.at = map[string]uint64{}, time.Now()
	for cookie, n := range counts {
		if n > 0 {
			c.drops[names[cookie]] += n
		}
	}
	if datapath != ovs.Kernel || len(w.Translations) == 0 {
		return
	}
	if err := c.readUntracked(); err != nil {
		c.log.Warn("count what conntrack drops", "err", err)
	}
}

func (c *counters) readUntracked() error {
	n, err := hostnet.ConntrackDrops()
	if err != nil {
		return err
	}
	if c.untracked == nil {
		c.untracked = &n
	}
	if n > *c.untracked {
		c.drops[dropUntracked] = n - *c.untracked
	}
	return nil
}
