package agent

import (
	"cmp"
	crypto "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// How often a peer's switch is probed, and what no reflection means.
const (
	probeUp        = 3 * time.Second
	probeUnsettled = time.Second
	missesToDown   = 3 // in a row

	fewPeers = 32 // are probed at once when they are new
)

// tunnelLiveness is what probes have found of the way to each peer's switch and back, by host.
type tunnelLiveness map[string]*tunnel

// tunnel is the way to one peer.
type tunnel struct {
	nonce  uint64    // in all its probes: nobody else can make a reflection up
	number uint64    // of the last probe
	sent   time.Time // when; zero: it has come back
	due    time.Time // of the next probe
	status model.TunnelStatus
}

// tunnelProbe is a probe to be sent.
type tunnelProbe struct {
	host          string
	vtep          netip.Addr
	nonce, number uint64
}

// due gives the probes that are to be sent now. A probe that has not come back by the time of the next one counts as
// lost. Peers that are gone are forgotten.
func (t tunnelLiveness) due(peers map[string]view.Peer, now time.Time) (probes []tunnelProbe) {
	for host := range t {
		if _, ok := peers[host]; !ok {
			delete(t, host)
		}
	}
	for host, peer := range peers {
		l := t[host]
		if l == nil || l.status.VTEP != peer.VTEP.String() {
			l = newTunnel(host, peer.VTEP, now)
			if len(t) > fewPeers { // so that not all are probed in the same moment for ever
				l.due = now.Add(rand.N(probeUp))
			}
			t[host] = l
		}
		if now.Before(l.due) {
			continue
		}
		l.missed(now)
		l.number++
		l.sent, l.due = now, now.Add(l.pause())
		probes = append(probes, tunnelProbe{host, peer.VTEP, l.nonce, l.number})
	}
	return probes
}

func newTunnel(host string, vtep netip.Addr, now time.Time) *tunnel {
	return &tunnel{nonce: newNonce(), status: model.TunnelStatus{Peer: host, VTEP: vtep.String(), State: model.TunnelUnknown, Since: now}}
}

func newNonce() uint64 {
	var b [8]byte
	crypto.Read(b[:]) // never fails (crypto/rand)
	return binary.BigEndian.Uint64(b[:])
}

// returned notes the reflection of a tunnel's last probe. Any other is ignored.
func (t tunnelLiveness) returned(nonce, number uint64, now time.Time) {
	for _, l := range t {
		if nonce != l.nonce || number != l.number {
			continue
		}
		l.status.RTTMicros = now.Sub(l.sent).Microseconds()
		l.status.LostProbes = 0
		l.sent = time.Time{}
		l.become(model.TunnelUp, now)
	}
}

// up tells whether a probe to a peer has come back, and fewer than missesToDown were lost since.
func (t tunnelLiveness) up(host string) bool {
	l := t[host]
	return l != nil && l.status.State == model.TunnelUp
}

// status is the status of each tunnel, sorted by peer.
func (t tunnelLiveness) status() (all []model.TunnelStatus) {
	for _, l := range t {
		all = append(all, l.status)
	}
	slices.SortFunc(all, func(x, y model.TunnelStatus) int { return cmp.Compare(x.Peer, y.Peer) })
	return all
}

func (l *tunnel) pause() time.Duration {
	if l.status.State == model.TunnelUp && l.status.LostProbes == 0 {
		return probeUp
	}
	return probeUnsettled
}

// missed counts the last probe as lost if it has not come back.
func (l *tunnel) missed(now time.Time) {
	if l.sent.IsZero() {
		return
	}
	l.status.LostProbes++
	if l.status.LostProbes >= missesToDown {
		l.become(model.TunnelDown, now)
	}
}

func (l *tunnel) become(s model.TunnelState, now time.Time) {
	if l.status.State != s {
		l.status.State, l.status.Since = s, now
	}
}
