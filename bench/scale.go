package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/server/api"
)

// Two endpoints of each subnet on each host: every host is a member of all subnets, which is the most expensive way to
// spread endpoints.
const (
	perHost   = 100
	perSubnet = perHost / manySubnets
)

// recorded are OVN 23.03's values on a similar machine with 5,000 endpoints, for one endpoint more; they are not
// measured again.
var recorded = struct{ seconds, cpuSeconds, flows float64 }{4, 1.9, 31510}

// measureScale applies 1,000 and then 5,000 endpoints, each time from only the endpoints of the two real hosts, and
// then measures the cost of one more. Before that it measures the cost of one in an empty network.
func measureScale(ctx context.Context, w *world) error {
	empty, err := w.measureOneMore(ctx, single)
	if err != nil {
		return err
	}
	if err := w.plugReal(ctx); err != nil {
		return err
	}
	ports, err := w.measureOneMore(ctx, many(0))
	if err != nil {
		return err
	}
	if err := w.grow(ctx, 1000, true); err != nil {
		return err
	}
	if err := w.shrink(ctx); err != nil {
		return err
	}
	if err := w.grow(ctx, 5000, true); err != nil {
		return err
	}
	full, err := w.measureOneMore(ctx, many(0))
	if err != nil {
		return err
	}
	const peer, samePorts = "empty network", "200 endpoints"
	limit := ratioAtMost(1.2)
	w.report(
		median("one more at 5,000, until on both real hosts", "ms", full.wall).against(samePorts, at(ports.wall, 0.5)).
			noting("the same 100 ports on each real host, and nothing else"),
		median("one more at 5,000, CPU of server and two agents", "ms", full.cpu).against(samePorts, at(ports.cpu, 0.5)).noting("%s", ports.each),
		median("one more at 5,000, until on both real hosts", "ms", full.wall).against(peer, at(empty.wall, 0.5)).wants(limit).
			noting("OVN 23.03, as recorded: %.0f s", recorded.seconds),
		median("one more at 5,000, CPU of server and two agents", "ms", full.cpu).against(peer, at(empty.cpu, 0.5)).wants(limit).
			noting("OVN 23.03, as recorded: %.1f s; %s", recorded.cpuSeconds, full.each),
	)
	return nil
}

// plugReal attaches the endpoints of the real hosts.
func (w *world) plugReal(ctx context.Context) error {
	for _, h := range []*lab.Host{w.host1, w.host2} {
		var names []string
		for i := range perHost {
			names = append(names, realNetns(i))
		}
		if err := addNetns(ctx, h, names...); err != nil {
			return err
		}
		for i, name := range names {
			if _, err := attach(ctx, h, name, many(i/perSubnet)); err != nil {
				return err
			}
		}
	}
	return nil
}

func realNetns(i int) string { return fmt.Sprintf("n%02d", i) }

// grow applies endpoints on simulated hosts until there are n, and reports the cost if asked to.
func (w *world) grow(ctx context.Context, n int, report bool) error {
	names, hosts := simulatedHosts(0, n/perHost-2)
	if err := apply(ctx, w.server, hosts); err != nil {
		return err
	}
	if err := w.startCrowd(ctx, w.host1.Root()+lab.ServerSocket, names); err != nil {
		return err
	}
	file := filepath.Join(w.dir, "endpoints.json")
	if err := writeEndpoints(file, names); err != nil {
		return err
	}
	switches, err := w.watchSwitches(ctx)
	if err != nil {
		return err
	}
	defer switches.close()
	want := len(names) * perHost // flows more on each real host, at the least
	known, _ := w.crowd.slowest()
	before, crowdBefore, began := w.cpuEach(), cpu(w.crowd.child.pid()), time.Now()
	cli, err := timed(w.host1, w.host1.Command(ctx, "overlane", "apply", "-f", file))
	if err != nil {
		return err
	}
	told := time.Since(began)
	done, err := switches.await(ctx, want)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "bench: %d endpoints: real hosts were done after %.2f s\n", n, done.Sub(began).Seconds())
	if err := w.crowd.await(ctx, known.revision+1); err != nil {
		return err
	}
	if p, _ := w.crowd.slowest(); p.at.After(done) {
		done = p.at
	}
	if !report {
		return nil
	}
	return w.reportScale(ctx, n, done.Sub(began), told, cli, w.cpuEach().since(before), cpu(w.crowd.child.pid())-crowdBefore)
}

func (w *world) reportScale(ctx context.Context, n int, took, told, cli time.Duration, used shares, crowd time.Duration) error {
	const peer = "OVN, as recorded"
	at := fmt.Sprintf(" at %d", n)
	flows, err := w.flowCounts(ctx)
	if err != nil {
		return err
	}
	_, simulated := w.crowd.slowest()
	hosts := float64(len(simulated))
	count := median("flows per real host"+at, "", flows).wants(atMost(5500))
	if n == 5000 {
		count = count.against(peer, recorded.flows).wants(atMost(5500))
	}
	one := func(x float64) []float64 { return []float64{x} }
	w.report(
		median("apply until every host's flows are in"+at, "s", one(took.Seconds())).
			noting("the command returned after %.2f s; the last flow was in the switch, or compiled on a simulated host, after this", told.Seconds()),
		median("apply, CPU of the server"+at, "s", one(used[0].Seconds())).noting("and the command: %.2f s", cli.Seconds()),
		median("apply, CPU of a real host's agent"+at, "s", []float64{used[1].Seconds(), used[2].Seconds()}),
		median("apply, CPU of a simulated host"+at, "s", one(crowd.Seconds()/hosts)).noting("view and flows, no switch; %.0f hosts in one process", hosts),
		count,
		median("flows per simulated host"+at, "", simulated),
		median("RSS of the server"+at, "MB", one(rss(w.lab.Server.PID()))),
		median("RSS of an agent"+at, "MB", []float64{rss(w.host1.Agent().PID()), rss(w.host2.Agent().PID())}),
	)
	return nil
}

// writeEndpoints writes the intent of the simulated hosts' endpoints: JSON objects one after the other, which is YAML
// too.
func writeEndpoints(path string, hosts []string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, host := range hosts {
		for i := range perHost {
			o := model.Object{Kind: "Endpoint", Name: fmt.Sprintf("%s/%s-%d", many(i/perSubnet), host, i), Spec: &model.EndpointSpec{Host: host}}
			text, err := json.Marshal(client.Objects(o)[0])
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(f, "---\n%s\n", text); err != nil {
				return err
			}
		}
	}
	return f.Close()
}

// shrink deletes the endpoints that grow has made, and ends the simulated hosts.
func (w *world) shrink(ctx context.Context) error {
	w.crowd.close()
	names, _ := simulatedHosts(0, len(w.crowd.hosts))
	w.crowd = nil
	var gone []model.Key
	for _, host := range names {
		for i := range perHost {
			gone = append(gone, model.Key{Kind: "Endpoint", Name: fmt.Sprintf("%s/%s-%d", many(i/perSubnet), host, i)})
		}
		gone = append(gone, model.Key{Kind: "Host", Name: host})
	}
	_, err := w.server.Apply(ctx, api.Apply{Delete: gone})
	return err
}

// flowCounts are the flow counts of the real hosts, from their agents' reports.
func (w *world) flowCounts(ctx context.Context) (counts []float64, err error) {
	for _, h := range []*lab.Host{w.host1, w.host2} {
		s, err := agentOf(h).Status(ctx)
		if err != nil {
			return nil, err
		}
		counts = append(counts, float64(s.Host.Flows))
	}
	return counts, nil
}

// A run changes the network several times, so that a change weighs against what agents use anyway.
const (
	oneMoreRuns = 8
	runChanges  = 10
	changePause = 150 * time.Millisecond // for the other hosts to follow
)

// oneMore is the cost of attaching one endpoint, and of detaching it.
type oneMore struct {
	wall, cpu []float64 // ms; until attached, and of both
	each      shares
}

// measureOneMore attaches one endpoint on host1, waits until host2's switch has its flow, and detaches it, again and
// again. After each such run it measures for as long what server and agents use anyway.
func (w *world) measureOneMore(ctx context.Context, subnet string) (m oneMore, err error) {
	if err := addNetns(ctx, w.host1, "more"); err != nil {
		return m, err
	}
	if err := addNetns(ctx, w.host2, "other"); err != nil {
		return m, err
	}
	if _, err := attach(ctx, w.host2, "other", subnet); err != nil { // host2 is a member
		return m, err
	}
	defer func() { _ = detach(ctx, w.host2, "other") }()
	for range oneMoreRuns {
		used, wall, err := w.changeOneMore(ctx, subnet)
		if err != nil {
			return m, err
		}
		m.wall = append(m.wall, wall...)
		m.cpu = append(m.cpu, ms(used.sum())/runChanges)
		for i := range used {
			m.each[i] += used[i]
		}
	}
	return m, nil
}

// changeOneMore is one run. used is without what server and agents use anyway.
func (w *world) changeOneMore(ctx context.Context, subnet string) (used shares, wall []float64, err error) {
	sw, err := w.dialSwitch(ctx, w.host2)
	if err != nil {
		return used, nil, err
	}
	defer sw.Close()
	before, began := w.cpuEach(), time.Now()
	for range runChanges {
		took, err := w.attachOneMore(ctx, sw, subnet)
		if err != nil {
			return used, nil, err
		}
		wall = append(wall, ms(took))
		if err := detach(ctx, w.host1, "more"); err != nil {
			return used, nil, err
		}
		time.Sleep(changePause)
	}
	time.Sleep(time.Second) // agents write and report with a delay
	used, before = w.cpuEach().since(before), w.cpuEach()
	time.Sleep(time.Since(began))
	return used.since(w.cpuEach().since(before)), wall, nil
}

func (w *world) attachOneMore(ctx context.Context, sw *ovs.Switch, subnet string) (took time.Duration, err error) {
	for drained := false; !drained; {
		select {
		case <-sw.Drift():
		default:
			drained = true
		}
	}
	began := time.Now()
	if _, err := attach(ctx, w.host1, "more", subnet); err != nil {
		return 0, err
	}
	select {
	case <-sw.Drift():
	case <-time.After(5 * time.Second):
		return 0, fmt.Errorf("host2 has not got the flow of an endpoint of host1")
	}
	took = time.Since(began)
	time.Sleep(changePause)
	return took, nil
}

// dialSwitch connects to a host's switch as an observer: changes by the agent are reported to it as drift.
func (w *world) dialSwitch(ctx context.Context, h *lab.Host) (*ovs.Switch, error) {
	return ovs.Dial(ctx, ovs.SwitchConfig{Socket: h.Root() + "/run/openvswitch/br-overlane.mgmt"})
}

// switches watches both real hosts' switches.
type switches struct {
	all   []*ovs.Switch
	start []int
}

func (w *world) watchSwitches(ctx context.Context) (s switches, err error) {
	for _, h := range []*lab.Host{w.host1, w.host2} {
		sw, err := w.dialSwitch(ctx, h)
		if err != nil {
			return s, err
		}
		have, err := sw.Read(ctx)
		if err != nil {
			return s, err
		}
		s.all, s.start = append(s.all, sw), append(s.start, len(have.Flows))
	}
	return s, nil
}

// await returns the time at which the last switch reported its last flow, once each switch has want more flows than at
// the start. It reads a switch rarely, since that keeps the switch from other work.
func (s switches) await(ctx context.Context, want int) (last time.Time, err error) {
	for i, sw := range s.all {
		told := time.Now()
		for {
			select {
			case <-sw.Drift():
				told = time.Now()
				continue
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				return last, ctx.Err()
			}
			have, err := sw.Read(ctx)
			if err != nil {
				return last, err
			}
			if len(have.Flows) >= s.start[i]+want {
				break
			}
		}
		if told.After(last) {
			last = told
		}
	}
	return last, nil
}

func (s switches) close() {
	for _, sw := range s.all {
		sw.Close()
	}
}
