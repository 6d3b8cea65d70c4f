package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/internal/printable"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/spf13/cobra"
)

func newStatus(e *env) *cobra.Command {
	var (
		agent  local.Client
		here   bool
		output string
	)
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what was measured: hosts, tunnels, endpoints, drift, drops",
		Long: "Show what was measured. On the server's machine that is the whole network, on a host it is the host.\n\n" +
			"An endpoint is Ready when its port answered our ARP and, if its subnet has endpoints on other hosts, a probe to the\n" +
			"switch of one of those came back; else Attached.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(output, "table", "json"); err != nil {
				return err
			}
			s, err := e.status(c.Context(), agent, here)
			if err != nil {
				return err
			}
			if output == "json" {
				return e.printJSON(s)
			}
			e.printStatus(s)
			return nil
		},
	}
	agentFlag(c, &agent)
	c.Flags().BoolVar(&here, "here", false, "only this host, as its agent has measured it just now")
	outputFlag(c, &output, "table", "json")
	return c
}

// networkStatus is all hosts and endpoints, or those of one host.
type networkStatus struct {
	ServerError   string         `json:"serverUnreachable,omitempty"` // why the host's agent does not reach the server
	RefusedReason string         `json:"reportsRefused,omitempty"`    // why the server does not take its reports
	Overview      api.Overview   `json:"overview"`
	Endpoints     []model.Object `json:"endpoints"`
}

// status asks the server if it permits the caller, and else the agent of this machine.
func (e *env) status(ctx context.Context, agent local.Client, here bool) (networkStatus, error) {
	if here || strings.HasPrefix(e.server, "unix://") && !exists(strings.TrimPrefix(e.server, "unix://")) {
		return hostStatus(ctx, agent)
	}
	c, err := e.client()
	if err != nil {
		return networkStatus{}, err
	}
	defer c.Close()
	overview, err := c.Overview(ctx)
	if refused := new(api.Error); errors.As(err, &refused) && refused.Kind == api.Denied {
		return hostStatus(ctx, agent)
	}
	if err != nil {
		return networkStatus{}, err
	}
	list, err := c.List(ctx, "Endpoint", "")
	return networkStatus{Overview: overview, Endpoints: list.Items}, err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func hostStatus(ctx context.Context, agent local.Client) (networkStatus, error) {
	s, err := agent.Status(ctx)
	if err != nil {
		return networkStatus{}, err
	}
	n := networkStatus{ServerError: s.Away, RefusedReason: s.Unheard, Overview: api.Overview{Revision: s.Host.Revision, Hosts: []model.Object{{Kind: "Host", Name: s.Name, Status: &s.Host}}}}
	for _, name := range slices.Sorted(maps.Keys(s.Endpoints)) {
		measured := s.Endpoints[name]
		n.Endpoints = append(n.Endpoints, model.Object{Kind: "Endpoint", Name: name, Status: &measured})
	}
	return n, nil
}

func (e *env) printStatus(n networkStatus) {
	if n.ServerError != "" {
		fmt.Fprintf(e.out, "%s: %s\n\n", e.palette.yellow("server unreachable"), printable.Escape(n.ServerError))
	}
	if n.RefusedReason != "" {
		fmt.Fprintf(e.out, "%s: %s\n\n", e.palette.yellow("the server does not take this host's reports"), printable.Escape(n.RefusedReason))
	}
	hosts := table{{"HOST", "READY", "DATAPATH", "FLOWS", "GROUPS", "ENDPOINTS", "DRIFT REPAIRED", "MEASURED", "REASON"}}
	tunnels := table{{"FROM", "TO", "VTEP", "TUNNEL", "RTT", "LOST IN A ROW", "WATCHED"}}
	borders := table{{"BORDER HOST", "OPEN", "ROUTER", "MAC", "ANSWERS", "SINCE", "HOLDS NEXT HOPS OF", "REASON"}}
	drops := table{{"HOST", "PACKETS DROPPED BECAUSE", "COUNT"}}
	for _, o := range n.Overview.Hosts {
		s, _ := o.Status.(*model.HostStatus)
		if s == nil {
			hosts.row(o.Name, "no", "", "", "", "", "", "", "its agent has not reported yet")
			continue
		}
		hosts.row(o.Name, yesNo(s.Ready), s.Datapath, fmt.Sprint(s.Flows), fmt.Sprint(s.Groups), fmt.Sprint(n.endpointsOn(o.Name)),
			fmt.Sprintf("%d flows, %d groups, %d ports", s.Drift.FlowsRepaired, s.Drift.GroupsRepaired, s.Drift.PortsRepaired), ago(s.Time), cmp.Or(s.Reason, strings.Join(s.Warnings, "; ")))
		for _, t := range s.Tunnels {
			tunnels.row(o.Name, t.Peer, t.VTEP, string(t.State), (time.Duration(t.RTTMicros) * time.Microsecond).String(), fmt.Sprint(t.LostProbes), string(t.BFD))
		}
		if p := s.Border; p != nil {
			borders.row(o.Name, yesNo(p.Open), p.Router, p.RouterMAC, yesNo(p.Answers), ago(p.Since), strings.Join(p.ActiveNextHops, " "), p.Reason)
		}
		for _, name := range slices.Sorted(maps.Keys(s.Drops)) {
			drops.row(o.Name, name, fmt.Sprint(s.Drops[name]))
		}
	}
	endpoints := table{{"ENDPOINT", "HOST", "STATE", "SINCE", "REASON"}}
	for _, o := range n.Endpoints {
		if s, _ := o.Status.(*model.EndpointStatus); s != nil {
			endpoints.row(o.Name, s.Host, string(s.State), ago(s.Since), s.Reason)
		} else {
			endpoints.row(o.Name, "", string(model.Pending), "", "nobody has reported it")
		}
	}
	for i, t := range []table{hosts, tunnels, borders, endpoints, drops} {
		if len(t) == 1 {
			continue
		}
		if i > 0 {
			fmt.Fprintln(e.out)
		}
		t.print(e.out, e.palette)
	}
}

func (n networkStatus) endpointsOn(host string) int {
	count := 0
	for _, o := range n.Endpoints {
		if s, _ := o.Status.(*model.EndpointStatus); s != nil && s.Host == host {
			count++
		}
	}
	return count
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return time.Since(t).Round(time.Second).String() + " ago"
}
