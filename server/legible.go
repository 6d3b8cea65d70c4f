package server

import (
	"fmt"

	"github.com/overlane/overlane/internal/printable"
	"github.com/overlane/overlane/model"
)

// Administrators see the status of a host on their terminals, and an intruder may control the host's machine. So a
// status may have only known states, and its texts are short and without control characters, which could move the
// cursor or forge lines. A text is corrected instead of refused, since agents quote errors of other programs.

// maxText is the greatest length of a text in a status, in characters.
const maxText = 512

// maxDrops is the most reasons for drops that a host may report.
const maxDrops = 256

// maxWarnings is the most warnings that a host may report.
const maxWarnings = 16

// maxActiveNextHops is the most active next hops that a border host may report.
const maxActiveNextHops = 256

// legible corrects the texts of a status. It returns an error for an unknown state and for too many elements.
func legible(status any) error {
	switch s := status.(type) {
	case *model.EndpointStatus:
		return legibleEndpoint(s)
	case *model.HostStatus:
		return legibleHost(s)
	}
	return nil
}

func legibleEndpoint(s *model.EndpointStatus) error {
	clean(&s.Reason, &s.Port)
	switch s.State {
	case model.Pending, model.Attached, model.Ready:
		return nil
	}
	return fmt.Errorf("state %.40q is not Pending, Attached or Ready", s.State)
}

func legibleHost(s *model.HostStatus) error {
	clean(&s.Reason, &s.Datapath, &s.AgentVersion)
	for i := range s.Tunnels {
		t := &s.Tunnels[i]
		clean(&t.Peer, &t.VTEP)
		switch t.State {
		case model.TunnelUp, model.TunnelDown, model.TunnelUnknown:
		default:
			return fmt.Errorf("tunnel state %.40q is not Up, Down or Unknown", t.State)
		}
		if t.BFD != "" && t.BFD != model.TunnelUp && t.BFD != model.TunnelDown {
			return fmt.Errorf("watched tunnel state %.40q is not Up or Down", t.BFD)
		}
	}
	if p := s.Border; p != nil {
		clean(&p.Reason, &p.Router, &p.RouterMAC)
		if len(p.ActiveNextHops) > maxActiveNextHops {
			return fmt.Errorf("passage.holds has %d, and %d at most are allowed", len(p.ActiveNextHops),
				maxActiveNextHops)
		}
		for i := range p.ActiveNextHops {
			clean(&p.ActiveNextHops[i])
		}
	}
	if len(s.Addresses) > model.MaxAddresses {
		return fmt.Errorf("addresses has %d, and %d at most are allowed", len(s.Addresses), model.MaxAddresses)
	}
	for _, a := range s.Addresses {
		if !a.Is4() || !a.IsGlobalUnicast() {
			return fmt.Errorf("address %.40q is none of IPv4 that a host is reached by", a)
		}
	}
	if len(s.Warnings) > maxWarnings {
		return fmt.Errorf("warnings has %d, and %d at most are allowed", len(s.Warnings), maxWarnings)
	}
	for i := range s.Warnings {
		clean(&s.Warnings[i])
	}
	if len(s.Drops) > maxDrops {
		return fmt.Errorf("drops has %d reasons, and %d at most are allowed", len(s.Drops), maxDrops)
	}
	for name, n := range s.Drops {
		if seen := visible(name); seen != name {
			delete(s.Drops, name)
			s.Drops[seen] += n
		}
	}
	return nil
}

func clean(texts ...*string) {
	for _, text := range texts {
		*text = visible(*text)
	}
}

// visible returns a text with a space for each invisible character, cut at [maxText].
func visible(text string) string { return cut(printable.Blank(text), maxText) }

func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}
