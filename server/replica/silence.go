package replica

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/overlane/overlane/model"
)

// Silence is how long a host may say nothing before what it said no longer counts. Agents report every 30 s.
const Silence = 90 * time.Second

// silenceTick is how often the server looks who has fallen silent.
const silenceTick = time.Second

// contact is what this server has heard of a host. It goes by this server's own clock, which never steps (time.Time has a monotonic
// reading): the time in a status is of the server that took it, whose clock may be another or be set meanwhile.
type contact struct {
	at     time.Time // when this server saw its last status, or started
	spoke  bool      // since this server started
	silent bool      // watchers were told that it is silent
	turned int64     // revision at which they were told last that it is silent, or not any more
}

// silent tells whether a host that has reported has said nothing for too long, and since when. A server that has just
// started has not listened for long enough to say so.
func (r *Replica) silent(host string) (since time.Time, silent bool) {
	status, ok := r.statuses[model.Key{Kind: "Host", Name: host}].status.(*model.HostStatus)
	if !ok {
		return since, false
	}
	return status.Time, r.now().Sub(r.lastSeen[host].at) > Silence
}

// noteContact takes down which hosts speak in an update. It gives those that were silent, and those that may have been before this server
// started: what was measured of their endpoints counts again, which watchers must be told although nothing is written of it. The
// caller holds mu.
func (r *Replica) noteContact(u update) (again []string) {
	for key, m := range u.statuses {
		if key.Kind != "Host" || bytes.Equal(m.text, r.statuses[key].text) { // a reload brings what was known, too
			continue
		}
		h, known := r.lastSeen[key.Name]
		if _, silent := r.silent(key.Name); known && (silent || !h.spoke) {
			h.turned = u.revision
			again = append(again, key.Name)
		}
		if m.status == nil {
			delete(r.lastSeen, key.Name)
		} else {
			r.lastSeen[key.Name] = contact{at: r.now(), spoke: true, turned: h.turned}
		}
	}
	return again
}

// watchSilence tells watchers of hosts that fall silent, until ctx ends. Nothing is written then, so nothing else would tell them.
func (r *Replica) watchSilence(ctx context.Context) {
	tick := time.NewTicker(silenceTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.notifySilent()
			r.findLater()
		}
	}
}

func (r *Replica) notifySilent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := update{revision: r.revision}
	for host, h := range r.lastSeen {
		if _, silent := r.silent(host); silent && !h.silent {
			h.silent, h.turned = true, r.revision
			r.lastSeen[host] = h
			u.turned = append(u.turned, host)
		}
	}
	if len(u.turned) > 0 {
		r.notifyWatchers(u)
	}
}

// turnedSince are the hosts of which a watcher that knows what there was at a revision may not know that they fell silent, or
// speak again: a silence moves no revision. The caller holds mu.
func (r *Replica) turnedSince(revision int64) (hosts []string) {
	for host, h := range r.lastSeen {
		if h.turned > 0 && h.turned >= revision {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// hostStatus is what a host measured last; of a silent one, that nobody knows. It is nil if it has not reported yet.
func (r *Replica) hostStatus(host string) *model.HostStatus {
	status, _ := r.statuses[model.Key{Kind: "Host", Name: host}].status.(*model.HostStatus)
	since, silent := r.silent(host)
	if !silent {
		return status
	}
	last := *status
	last.Ready, last.Reason = false, "silent since "+stamp(since)+": its agent does not report"
	last.Tunnels = slices.Clone(status.Tunnels)
	for i := range last.Tunnels {
		last.Tunnels[i].State, last.Tunnels[i].BFD = model.TunnelUnknown, ""
	}
	last.Border = nil
	return &last
}

// endpointStatus is what the host measured that the endpoint is on now; nil if it has not yet, whoever had it before.
func (r *Replica) endpointStatus(key model.Key) *model.EndpointStatus {
	status, _ := r.statuses[key].status.(*model.EndpointStatus)
	spec := r.state.Endpoint(key.Name)
	if status == nil || spec == nil || status.Host != spec.Host {
		return nil
	}
	since, silent := r.silent(spec.Host)
	if !silent {
		return status
	}
	last := *status
	last.State, last.Since = model.Unknown, since
	last.Reason = fmt.Sprintf("Host %s is silent since %s; before that: %s", spec.Host, stamp(since), status.State)
	return &last
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
