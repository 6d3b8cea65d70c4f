package dataplane

import (
	"slices"
	"strings"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/view"
)

// pipeline compiles the static flows: those of every host, of every border host, and of every host that translates.
type pipeline struct{}

func (pipeline) name() string                  { return "" }
func (pipeline) subjects(*view.View) []Subject { return []Subject{{}} }

func (pipeline) compile(v *view.View, w Wiring, _ any) Entries {
	return Entries{Flows: staticFlows(v, w)}
}

// touch names the next hop of this host, since packets that leave have its source MAC.
func (pipeline) touch(c *change, add func(key any)) {
	was, is := c.before.Wiring, c.now.Wiring
	if c.hops[c.now.View.Host] || was.Router != is.Router || was.translates() != is.translates() ||
		!slices.Equal(was.Guarded, is.Guarded) {
		add(nil)
	}
}

func staticFlows(v *view.View, w Wiring) []flow.Flow {
	parts := [][]flow.Flow{
		admitStatic(w), sourceStatic(w), spoofCheckStatic(w), answerStatic(), arpReplyStatic(),
		forwardStatic(), routeStatic(w), deliverStatic(w), probeStatic(),
		locateStatic(), verifyStatic(), sameSubnetStatic(),
	}
	if w.translates() {
		parts = append(parts, snatStatic(w))
	}
	parts = append(parts, borderStatic(v, w))
	if w.UpstreamPort != 0 || w.SNATPort != 0 {
		parts = append(parts, publicMTUStatic(w))
	}
	flows := slices.Concat(parts...)
	for i := range flows {
		if flows[i].Owner == "" {
			flows[i].Owner = "pipeline"
		}
	}
	return flows
}

// DropCounters names the counters of dropped packets: cookie of the flow -> name of the reason.
func DropCounters(v *view.View, w Wiring) map[uint64]string {
	names := map[uint64]string{}
	for _, f := range staticFlows(v, w) {
		if reason, ok := strings.CutPrefix(f.Owner, dropOwner); ok {
			names[f.Cookie()] = reason
		}
	}
	return names
}
