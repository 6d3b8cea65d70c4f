package replica

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/overlane/overlane/model"
)

// Silence is the time without a report after which the status of a host no longer counts. Agents report every 30 s.
const Silence = 90 * time.Second

// silenceTick is the interval at which the server looks for silent hosts.
const silenceTick = time.Second

// contact is this server's record of a host's reports. It uses this server's clock, whose monotonic reading never
// steps. The server that received a status has set its time, and its clock may differ or be set meanwhile.
type contact struct {
	at     time.Time // when this server saw its last status, or started
	spoke  bool      // since this server started
	silent bool      // watchers know that it is silent
	turned int64     // revision at which watchers were last told that it fell silent or spoke again
}

// silent reports whether a host that has reported before is silent, and since when. A server that has just started does
// not know yet.
func (r *Replica) silent(host string) (since time.Time, silent bool) {
	status, ok := r.statuses[model.Key{Kind: "Host", Name: host}].status.(*model.HostStatus)
	if !ok {
		return since, false
	}
	return status.Time, r.now().Sub(r.lastSeen[host].at) > Silence
}

// noteContact records the hosts that report in an update. It returns the hosts that were silent, or may have been
// before this server started. The statuses of their endpoints count again, and watchers must be told, although the
// store does not change. The caller holds mu.
func (r *Replica) noteContact(u update) (again []string) {
	for key, m := range u.statuses {
		if key.Kind != "Host" || bytes.Equal(m.text, r.statuses[key].text) { // a reload also has unchanged statuses
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

// watchSilence tells watchers about hosts that fall silent, until ctx ends. The store does not change then, so nothing
// else tells them.
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

// turnedSince returns the hosts that may have fallen silent, or spoken again, since a watcher's revision: silence does
// not change the revision. The caller holds mu.
func (r *Replica) turnedSince(revision int64) (hosts []string) {
	for host, h := range r.lastSeen {
		if h.turned > 0 && h.turned >= revision {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// hostStatus returns the last status of a host, which is unknown for a silent host; nil if it has not reported yet.
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

// endpointStatus returns the status of an endpoint as measured by its present host; nil if that host has not measured
// it yet.
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
