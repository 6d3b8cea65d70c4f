package agent

import (
	"time"

	"github.com/overlane/overlane/view"
)

// How often an endpoint is asked by ARP.
const (
	askUnanswered = time.Second
	askAnswered   = 15 * time.Second
)

// endpointLiveness is what ARP has found of the endpoints of this host, by name.
type endpointLiveness map[string]*heartbeat

// heartbeat is what is known of one endpoint.
type heartbeat struct {
	due    time.Time // of the next question
	misses int       // questions in a row without an answer, the last one included
	alive  bool
}

// endpointQuestion is an ARP request to be sent out of a port.
type endpointQuestion struct {
	address view.Address
	port    uint32
}

// due gives the questions that are to be asked now of those endpoints that have a port. An endpoint that has left
// missesToDown questions in a row without an answer counts as dead. Endpoints that are gone, or have no port, are
// forgotten.
func (e endpointLiveness) due(own map[string]view.Address, ports map[view.AddressKey]uint32, now time.Time) (questions []endpointQuestion) {
	for name := range e {
		if _, wired := ports[own[name].AddressKey]; !wired {
			delete(e, name)
		}
	}
	for name, address := range own {
		port, wired := ports[address.AddressKey]
		if !wired {
			continue
		}
		h := e[name]
		if h == nil {
			h = &heartbeat{}
			e[name] = h
		}
		if now.Before(h.due) {
			continue
		}
		if h.misses++; h.misses > missesToDown {
			h.alive = false
		}
		h.due = now.Add(askUnanswered)
		questions = append(questions, endpointQuestion{address, port})
	}
	return questions
}

// answered notes an endpoint's answer. One that was not asked is not listened to.
func (e endpointLiveness) answered(name string, now time.Time) {
	if h := e[name]; h != nil {
		h.alive, h.misses, h.due = true, 0, now.Add(askAnswered)
	}
}

func (e endpointLiveness) alive(name string) bool {
	h := e[name]
	return h != nil && h.alive
}
