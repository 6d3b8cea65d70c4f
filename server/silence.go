package server

import (
	"fmt"
	"slices"
	"time"

	"github.com/overlane/overlane/model"
)

// silence is how long a host may say nothing before what it said no longer counts. Agents report every 30 s.
const silence = 90 * time.Second

// silent tells whether a host that has reported has said nothing for too long, and since when. A server that has just
// started has not listened for long enough to say so.
func (r *replica) silent(host string) (since time.Time, silent bool) {
	status, ok := r.statuses[model.Key{Kind: "Host", Name: host}].status.(*model.HostStatus)
	if !ok {
		return since, false
	}
	now := r.now()
	return status.Time, now.Sub(status.Time) > silence && now.Sub(r.started) > silence
}

// hostStatus is what a host measured last; of a silent one, that nobody knows. It is nil if it has not reported yet.
func (r *replica) hostStatus(host string) *model.HostStatus {
	status, _ := r.statuses[model.Key{Kind: "Host", Name: host}].status.(*model.HostStatus)
	since, silent := r.silent(host)
	if !silent {
		return status
	}
	last := *status
	last.Ready, last.Reason = false, "silent since "+stamp(since)+": its agent does not report"
	last.Tunnels = slices.Clone(status.Tunnels)
	for i := range last.Tunnels {
		last.Tunnels[i].State = model.TunnelUnknown
	}
	return &last
}

// endpointStatus is what the host measured that the endpoint is on now; nil if it has not yet, whoever had it before.
func (r *replica) endpointStatus(key model.Key) *model.EndpointStatus {
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
