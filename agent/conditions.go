package agent

import "log/slog"

// What can be wrong with a host, in words for the log and for people. The first three keep the host from being ready; of the
// others no packet suffers.
const (
	inSwitch    = "no connection to the switch"
	inBridge    = "the bridge cannot be kept as it must be"
	inUnderlay  = "tunnels cannot leave"
	inDisk      = "the view cannot be kept on disk, so after a restart without the server this host would have an old one"
	inReports   = "the server does not take this host's reports"
	inLimits    = "one VPC's connections to the outside may fill what the datapath remembers for all"
	inZones     = "not every VPC's traffic to the outside can be translated"
	inPorts     = "a port of Overlane's own is missing"
	inNIC       = "the interface on the upstream network is not the switch's"
	inPassage   = "public traffic does not pass this host"
	inOutside   = "endpoints do not reach the outside by this host"
	inNative    = "public traffic does not all go over the underlay by this host"
	inAddresses = "endpoints of other hosts may reach addresses of this one by SNAT"
	inFirewall  = "the host's own processes can send tunnel packets in its name"
)

// warnings are the conditions that a host reports beside its being ready; that it cannot report, it can say at home only.
var warnings = []string{inDisk, inFirewall, inPorts, inLimits, inZones, inOutside, inNative, inNIC, inPassage, inAddresses}

// conditions are what is wrong with the host now.
type conditions struct {
	log    *slog.Logger
	causes map[string]string // the cause, by condition
}

func newConditions(log *slog.Logger) *conditions {
	return &conditions{log, map[string]string{}}
}

// set keeps the cause of a condition, or that the condition is over. The log is told when that changes.
func (c *conditions) set(condition string, err error) {
	was := c.causes[condition]
	if err == nil {
		delete(c.causes, condition)
		if was != "" {
			c.log.Info("over: "+condition, "was", was)
		}
		return
	}
	c.causes[condition] = err.Error()
	if was != err.Error() {
		c.log.Error(condition, "err", err)
	}
}

// sentence says what is wrong, and why; empty if nothing is.
func (c *conditions) sentence(condition string) string {
	if why := c.causes[condition]; why != "" {
		return condition + ": " + why
	}
	return ""
}

// warnings are what should be put right although packets flow.
func (c *conditions) warnings() (list []string) {
	for _, condition := range warnings {
		if sentence := c.sentence(condition); sentence != "" {
			list = append(list, sentence)
		}
	}
	return list
}
