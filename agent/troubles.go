package agent

// troubles are what is wrong now, by what it keeps from working.
type troubles map[string]string

// What can be in trouble, in words for the log and for people. The first three keep the host from being ready; of the others no packet suffers.
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

// warnings are what a host reports beside its being ready; that it cannot report, it can say at home only.
var warnings = []string{inDisk, inFirewall, inPorts, inLimits, inZones, inOutside, inNative, inNIC, inPassage, inAddresses}

// note keeps what is wrong with something, or that nothing is. The log is told when that changes.
func (a *Agent) note(in string, err error) {
	was := a.troubles[in]
	if err == nil {
		delete(a.troubles, in)
		if was != "" {
			a.log.Info("over: "+in, "was", was)
		}
		return
	}
	a.troubles[in] = err.Error()
	if was != err.Error() {
		a.log.Error(in, "err", err)
	}
}

// is is what is wrong, in a sentence; empty if nothing is.
func (t troubles) is(in string) string {
	if why := t[in]; why != "" {
		return in + ": " + why
	}
	return ""
}

// warnings are what should be put right although packets flow.
func (t troubles) warnings() (list []string) {
	for _, in := range warnings {
		if why := t.is(in); why != "" {
			list = append(list, why)
		}
	}
	return list
}
