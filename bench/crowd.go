package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// simulate follows the views of hosts that do not exist, through the server's own socket, and compiles their flows as
// agents do. For each delta it prints a line: host, revision, number of flows.
func simulate(ctx context.Context, socket string, hosts []string) error {
	c, err := client.New(client.Config{Address: "unix://" + socket})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	var all sync.WaitGroup
	for _, name := range hosts {
		h := &simulated{view: view.View{Host: name}}
		all.Go(func() { c.FollowView(ctx, name, h.follow, func(error) {}) })
	}
	all.Wait()
	return nil
}

// simulated is a host that plugs each of its endpoints into a port of its own as soon as its view has the endpoint.
type simulated struct {
	view     view.View
	wiring   dataplane.Wiring
	subjects map[dataplane.Subject]int // how many flows each asks for
	flows    int
	ports    uint32
}

const simulatedTunnel = 65000

func (h *simulated) follow(d view.Delta) {
	before := dataplane.Before{Undo: h.view.Apply(d), Wiring: h.wiring}
	if d.Complete {
		h.wiring = dataplane.Wiring{TunnelPort: simulatedTunnel, Ports: map[view.AddressKey]uint32{}}
		h.subjects, h.flows = map[dataplane.Subject]int{}, 0
	}
	h.plug(d)
	touched, all := dataplane.Touched(before, dataplane.Input{View: &h.view, Wiring: h.wiring})
	if d.Complete || all {
		touched = dataplane.Subjects(&h.view)
	}
	for _, s := range touched {
		n := len(dataplane.CompileSubject(&h.view, h.wiring, s).Flows)
		h.flows += n - h.subjects[s]
		h.subjects[s] = n
	}
	fmt.Printf("%s %d %d\n", h.view.Host, d.Revision, h.flows)
}

// plug gives ports to the endpoints of this host in a delta; their subjects are touched in any case.
func (h *simulated) plug(d view.Delta) {
	for _, key := range d.GoneAddresses {
		delete(h.wiring.Ports, key)
	}
	for _, a := range d.Addresses {
		if a.Host == h.view.Host && h.wiring.Ports[a.AddressKey] == 0 {
			h.ports++
			h.wiring.Ports[a.AddressKey] = h.ports
		}
	}
}

// crowd is a process that simulates hosts.
type crowd struct {
	child *process

	mu    sync.Mutex
	hosts map[string]progress
}

// progress is the revision that a simulated host has reached.
type progress struct {
	revision int64
	flows    int
	at       time.Time
}

// startCrowd starts simulated hosts, which intent must name already.
func (w *world) startCrowd(ctx context.Context, socket string, hosts []string) error {
	c, err := w.startRole(ctx, nil, roleCrowd, append([]string{socket}, hosts...)...)
	if err != nil {
		return err
	}
	w.crowd = &crowd{child: c, hosts: map[string]progress{}}
	for _, name := range hosts {
		w.crowd.hosts[name] = progress{}
	}
	go w.crowd.read()
	return w.crowd.await(ctx, 1)
}

func (c *crowd) read() {
	for {
		line, err := c.child.lines.ReadString('\n')
		if err != nil {
			return
		}
		var name string
		var p progress
		if _, err := fmt.Sscan(line, &name, &p.revision, &p.flows); err != nil {
			continue // a line of another kind
		}
		p.at = time.Now()
		c.mu.Lock()
		c.hosts[name] = p
		c.mu.Unlock()
	}
}

// slowest is the host with the lowest revision.
func (c *crowd) slowest() (p progress, flows []float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := true
	for _, h := range c.hosts {
		if first || h.revision < p.revision || h.revision == p.revision && h.at.After(p.at) {
			p, first = h, false
		}
		flows = append(flows, float64(h.flows))
	}
	return p, flows
}

// await returns when every simulated host has reached a revision.
func (c *crowd) await(ctx context.Context, revision int64) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if p, _ := c.slowest(); p.revision >= revision {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the simulated hosts to come to revision %d: %w", revision, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (c *crowd) close() {
	if c != nil {
		c.child.stop()
	}
}

// simulatedHosts are the first n simulated hosts, as intent.
func simulatedHosts(first, n int) (names []string, objects []model.Object) {
	for i := first; i < first+n; i++ {
		name := fmt.Sprintf("sim%03d", i)
		names = append(names, name)
		objects = append(objects, model.Object{Kind: "Host", Name: name, Spec: &model.HostSpec{Address: addr(10, 77, 100, byte(1+i))}})
	}
	return names, objects
}
