package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/lab"
)

const (
	trafficRounds = 10
	kernelEvery   = 3 // rounds; it is only reported
	streamSeconds = "1"
	tripTime      = 500 * time.Millisecond
)

// measureTraffic compares Overlane with Open vSwitch as a plain learning switch, and with the kernel's VXLAN and
// bridge. The first two use the same ports of the same ovs-vswitchd: a port's position in the polling loop matters more
// than the flows.
func measureTraffic(ctx context.Context, w *world) error {
	if err := w.article(ctx); err != nil {
		return err
	}
	ours, plain, err := w.overlayPaths(ctx)
	if err != nil {
		return err
	}
	defer w.endOverlayPaths(ctx)
	kernel, down, err := kernelPath(ctx)
	if err != nil {
		return err
	}
	defer down()
	for round := range trafficRounds {
		paths := []*path{ours, plain}
		if round%kernelEvery == 0 {
			paths = append(paths, kernel)
		}
		for _, p := range paths {
			if err := p.measure(ctx); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	for i, what := range trafficUnits {
		r := median(what.name, what.unit, ours.samples[i])
		w.report(r.inTurns(plain.name, ours.samples[i], plain.samples[i]).wants(ratioAtLeast(0.95)),
			r.against(kernel.name, at(kernel.samples[i], 0.5)))
	}
	return nil
}

// trafficUnits are the units of the figures for each path. More is better in all of them.
var trafficUnits = []struct{ name, unit string }{
	{"throughput across hosts, TCP", "Mb/s"},
	{"round trips across hosts, TCP, one at a time", "/s"},
	{"round trips across hosts, UDP, one at a time", "/s"},
	{"round trips across hosts, ping", "/s"},
}

// path is a path between two namespaces on two machines.
type path struct {
	name     string
	kind     string // of a path to the internet
	from, to *lab.Machine
	netns    string // of the same name on both
	address  netip.Addr
	own      netip.Addr                  // of the far end, if address is translated on the path
	choose   func(context.Context) error // makes packets take this path

	samples [4][]float64
}

func (p *path) measure(ctx context.Context) error {
	if err := p.choose(ctx); err != nil {
		return err
	}
	ping, err := newPinger(p.from, p.netns)
	if err != nil {
		return err
	}
	defer ping.close()
	if err := ping.until(ctx, p.address); err != nil {
		return err
	}
	for i, measure := range []func(context.Context) (float64, error){p.stream, p.trips("tcp"), p.trips("udp"), p.pings} {
		x, err := measure(ctx)
		if err != nil {
			return err
		}
		p.samples[i] = append(p.samples[i], x)
	}
	return nil
}

// stream is the throughput of one TCP connection, as received.
func (p *path) stream(ctx context.Context) (float64, error) {
	server := p.to.Command(ctx, "ip", "netns", "exec", p.netns, "iperf3", "-s", "-1")
	if err := p.to.Start(server); err != nil {
		return 0, err
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		bits, err := p.iperf(ctx)
		if err == nil || !strings.Contains(err.Error(), "refused") || time.Now().After(deadline) {
			return bits / 1e6, err
		}
	}
}

// iperf gives bits per second. iperf3 reports errors in its JSON, and not always by its exit status.
func (p *path) iperf(ctx context.Context) (bits float64, err error) {
	out, err := p.from.Exec(ctx, "ip", "netns", "exec", p.netns, "iperf3", "-c", p.address.String(), "-t", streamSeconds, "-J")
	if err != nil {
		return 0, err
	}
	var said struct {
		Error string `json:"error"`
		End   struct {
			Received struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	err = json.Unmarshal([]byte(out), &said)
	if said.Error != "" {
		err = errors.New(said.Error)
	}
	return said.End.Received.BitsPerSecond, err
}

// trips is the number of requests per second, each sent when the one before has been answered.
func (p *path) trips(network string) func(context.Context) (float64, error) {
	return func(ctx context.Context) (float64, error) {
		e, err := newExchange(p, network)
		if err != nil {
			return 0, err
		}
		defer e.close()
		return e.rate(tripTime)
	}
}

// pings is 1 divided by the median round-trip time of ping.
func (p *path) pings(ctx context.Context) (float64, error) {
	out, err := p.from.Exec(ctx, "ip", "netns", "exec", p.netns, "ping", "-n", "-i", "0.002", "-c", "200", "-w", "30", p.address.String())
	if err != nil {
		return 0, err
	}
	var times []float64
	for line := range strings.Lines(out) {
		var ms float64
		if _, after, ok := strings.Cut(line, "time="); ok {
			if _, err := fmt.Sscan(after, &ms); err != nil {
				return 0, fmt.Errorf("read ping's line %q: %w", line, err)
			}
			times = append(times, ms)
		}
	}
	return 1000 / at(times, 0.5), nil
}

// foreign marks the bench's own flows on our bridge; the agent leaves them alone.
const foreign = "0xbe"

// overlayPaths attaches an endpoint on each host. For the plain path, two flows of the highest priority and a pair of
// patch ports lead to the article's bridge; patch ports cost nothing in the datapath.
func (w *world) overlayPaths(ctx context.Context) (ours, plain *path, err error) {
	var on, off []string
	var reply local.AttachReply
	for _, h := range []*lab.Host{w.host1, w.host2} {
		if err := addNetns(ctx, h, "t"); err != nil {
			return nil, nil, err
		}
		if reply, err = attach(ctx, h, "t", single); err != nil {
			return nil, nil, err
		}
		if _, err := h.Vsctl(ctx, "--may-exist", "add-port", "br-overlane", "to-article", "--", "set", "interface", "to-article", "type=patch", "options:peer=to-ours", "--",
			"--may-exist", "add-port", articleBridge, "to-ours", "tag=100", "--", "set", "interface", "to-ours", "type=patch", "options:peer=to-article"); err != nil {
			return nil, nil, err
		}
		on = append(on, fmt.Sprintf(`p=$(ovs-vsctl get interface %s ofport) q=$(ovs-vsctl get interface to-article ofport)
			ovs-ofctl -OOpenFlow15 add-flow br-overlane cookie=%s,priority=60000,in_port=$p,actions=output:$q
			ovs-ofctl -OOpenFlow15 add-flow br-overlane cookie=%s,priority=60000,in_port=$q,actions=output:$p`, reply.Port, foreign, foreign))
		off = append(off, "ovs-ofctl -OOpenFlow15 del-flows br-overlane cookie="+foreign+"/-1")
	}
	ours = &path{name: "Overlane", from: w.host1.Machine, to: w.host2.Machine, netns: "t", address: reply.Address.Addr(), choose: w.onBoth(off)}
	plain = &path{name: "plain OVS", from: w.host1.Machine, to: w.host2.Machine, netns: "t", address: reply.Address.Addr(), choose: w.onBoth(on)}
	return ours, plain, nil
}

// onBoth runs a script on each host.
func (w *world) onBoth(scripts []string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err1 := w.host1.Exec(ctx, "sh", "-ec", scripts[0])
		_, err2 := w.host2.Exec(ctx, "sh", "-ec", scripts[1])
		return errors.Join(err1, err2)
	}
}

func (w *world) endOverlayPaths(ctx context.Context) {
	for _, h := range []*lab.Host{w.host1, w.host2} {
		_, _ = h.Exec(ctx, "ovs-ofctl", "-OOpenFlow15", "del-flows", "br-overlane", "cookie="+foreign+"/-1")
		_, _ = h.Vsctl(ctx, "del-port", "to-article", "--", "del-port", "to-ours")
		_ = detach(ctx, h, "t")
	}
}

const kernelLab = `
hosts: [{name: host1}, {name: host2}]
`

// kernelScript makes one side of the kernel's own overlay: $1 is this host, $2 the other, $3 the endpoint's address.
const kernelScript = `
ip link add vxlan0 type vxlan id 100 local $1 remote $2 dstport 4789
ip link add br0 type bridge
ip netns add t
ip link add t0 type veth peer name eth0 netns t
ip link set vxlan0 master br0
ip link set t0 mtu 1450 master br0
for l in vxlan0 br0 t0; do ip link set $l up; done
ip -n t link set eth0 mtu 1450
ip -n t addr add $3/24 dev eth0
ip -n t link set eth0 up
`

// kernelPath has a lab of its own: with eth0 in Open vSwitch, the kernel's tunnel would pass Open vSwitch.
func kernelPath(ctx context.Context) (p *path, down func(), err error) {
	l, err := upLab(ctx, "benchk", kernelLab, lab.Options{Tied: true, Bare: true})
	if err != nil {
		return nil, nil, err
	}
	down = func() { _ = l.Down(context.WithoutCancel(ctx)) }
	one, two := l.Host("host1"), l.Host("host2")
	to := addr(172, 17, 42, 10)
	_, err1 := one.Exec(ctx, "sh", "-ec", kernelScript, "sh", one.Address.String(), two.Address.String(), "172.17.42.2")
	_, err2 := two.Exec(ctx, "sh", "-ec", kernelScript, "sh", two.Address.String(), one.Address.String(), to.String())
	if err := errors.Join(err1, err2); err != nil {
		down()
		return nil, nil, err
	}
	return &path{name: "kernel VXLAN", from: one.Machine, to: two.Machine, netns: "t", address: to, choose: always}, down, nil
}
