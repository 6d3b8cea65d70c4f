package agent

import "log/slog"

// What can be wrong with a host, in words for the log and for people. The first three keep the host from being ready.
const (
	condSwitch    = "no connection to the switch"
	condBridge    = "the bridge cannot be kept as it must be"
	condUnderlay  = "tunnels cannot leave"
	condDisk      = "what must survive a restart of the agent cannot be kept on disk"
	condReports   = "the server does not take this host's reports"
	condLimits    = "one VPC's connections to the outside may fill what the datapath remembers for all"
	condZones     = "not every VPC's traffic to the outside can be translated"
	condPorts     = "a port of Overlane's own is missing"
	condNIC       = "the interface on the upstream network is not the switch's"
	condBorder    = "public traffic does not pass this host"
	condExit      = "endpoints do not reach the outside by this host"
	condDirect    = "public traffic does not all go over the underlay by this host"
	condAddresses = "endpoints of other hosts may reach addresses of this one by SNAT"
	condFirewall  = "the host's own processes can send tunnel packets in its name"
)

// warnings are the conditions that a host reports beside its being ready; that it cannot report, it can say at home
// only.
var warnings = []string{condDisk, condFirewall, condPorts, condLimits, condZones, condExit, condDirect, condNIC, condBorder, condAddresses}

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
