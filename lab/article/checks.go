package article

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/overlane/overlane/internal/pattern"
	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/model"
)

type article struct{ *lab.Lab }

// in runs a command in a container.
func (a article) in(ctx context.Context, e *Evidence, container string, argv ...string) (string, error) {
	return e.run(ctx, a.hostOf(container).Machine, append([]string{"docker", "exec", container}, argv...)...)
}

func (a article) hostOf(container string) *lab.Host {
	for _, e := range a.File.Endpoints {
		if e.Docker == container {
			return a.Host(e.Host)
		}
	}
	panic("the lab has no container " + container)
}

// endpoints of one tenant.
func (a article) endpoints(tenant string) (own []lab.Endpoint) {
	for _, e := range a.File.Endpoints {
		if strings.HasPrefix(e.Subnet, tenant+"/") {
			own = append(own, e)
		}
	}
	return own
}

var tenants = []string{"blue", "red"}

// pings from host2 to host1 and back, in both tenants.
func (a article) pings(ctx context.Context, e *Evidence) error {
	for _, p := range []struct{ from, to string }{
		{"blue3", "172.17.42.2"}, {"blue3", "172.17.42.3"}, {"blue1", "172.17.42.10"}, {"red3", "172.17.42.2"},
	} {
		if _, err := a.in(ctx, e, p.from, "ping", "-c", "2", "-i", "0.2", "-W", "3", p.to); err != nil {
			return err
		}
	}
	return nil
}

// arpTables must each have the other container's own MAC, not a switch's or a gateway's.
func (a article) arpTables(ctx context.Context, e *Evidence) error {
	for _, p := range []struct{ from, to, address string }{{"blue1", "blue3", "172.17.42.10"}, {"blue3", "blue1", "172.17.42.2"}} {
		mac, err := a.in(ctx, new(Evidence), p.to, "cat", "/sys/class/net/eth0/address")
		if err != nil {
			return err
		}
		table, err := a.in(ctx, e, p.from, "ip", "neigh")
		if err != nil {
			return err
		}
		want := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(p.address) + ` .*` + strings.TrimSpace(mac))
		if !want.MatchString(table) {
			return fmt.Errorf("the ARP table of %s has not %s at %s, the MAC of %s", p.from, p.address, strings.TrimSpace(mac), p.to)
		}
		e.note("%s is the MAC of %s", strings.TrimSpace(mac), p.to)
	}
	return nil
}

func (a article) gateways(ctx context.Context, e *Evidence) error {
	for _, container := range []string{"blue1", "blue3", "red1", "red3"} {
		if _, err := a.in(ctx, e, container, "ping", "-c", "1", "-W", "3", "172.17.42.1"); err != nil {
			return err
		}
	}
	return nil
}

// capture is a packet that must be seen on its way into host1.
type capture struct {
	tenant string
	flags  []string
	want   func() *regexp.Regexp // what must be told of it, in this order
}

var captures = []capture{
	{"blue", []string{"--verbose"}, pattern.Of(`(?is)Ethernet.*IPv4.*192\.168\.5\.3.*192\.168\.5\.2.*UDP.*4789.*VXLAN.*VNI 100\b.*Ethernet.*IPv4.*172\.17\.42\.10.*172\.17\.42\.2\b.*ICMP.*echo request`)},
	{"red", nil, pattern.Of(`VNI 200\b.*172\.17\.42\.10.*172\.17\.42\.2\b.*echo request`)},
}

// packets captures a ping from 172.17.42.10 to 172.17.42.2 of each tenant. A capture may begin between an echo and its
// reply, so there are some attempts.
func (a article) packets(ctx context.Context, e *Evidence) error {
	for _, c := range captures {
		if err := a.packet(ctx, e, c); err != nil {
			return err
		}
	}
	return nil
}

func (a article) packet(ctx context.Context, e *Evidence, c capture) error {
	const attempts = 5
	for attempt := 1; ; attempt++ {
		seen, err := a.captureOne(ctx, c)
		if err != nil {
			return err
		}
		matches := c.want().MatchString(seen.String())
		if matches || attempt == attempts {
			e.Lines = append(e.Lines, seen.Lines...)
		}
		if matches {
			return nil
		}
		if attempt == attempts {
			return fmt.Errorf("no packet of %s in %d showed %s", c.tenant, attempts, c.want())
		}
	}
}

func (a article) captureOne(ctx context.Context, c capture) (*Evidence, error) {
	pinging, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = a.in(pinging, new(Evidence), c.tenant+"3", "ping", "-i", "0.2", "-c", "100", "-W", "1", "172.17.42.2")
	}()
	seen := new(Evidence)
	argv := append([]string{"overlane", "capture", "--endpoint", c.tenant + "/web/" + c.tenant + "3", "--count", "1", "--timeout", "15s"}, c.flags...)
	out, err := seen.run(ctx, a.hostOf(c.tenant+"1").Machine, argv...)
	stop()
	<-done
	if err == nil && strings.TrimSpace(out) == "" {
		err = errors.New("the capture saw nothing")
	}
	return seen, err
}

// servers asks every server from a container of its tenant on the other host: each server has a namesake at the same
// address in the other tenant, which would answer with another name.
func (a article) servers(ctx context.Context, e *Evidence) error {
	for _, tenant := range tenants {
		for _, server := range a.endpoints(tenant) {
			if err := a.ask(ctx, e, tenant, server); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a article) ask(ctx context.Context, e *Evidence, tenant string, server lab.Endpoint) error {
	own := a.endpoints(tenant)
	client := own[slices.IndexFunc(own, func(c lab.Endpoint) bool { return c.Host != server.Host })]
	answer, err := a.in(ctx, e, client.Docker, "timeout", "3", "wget", "-q", "-O", "-", "http://"+server.IP.String()+"/")
	if err != nil {
		return err
	}
	if want := "tenant " + tenant; strings.TrimSpace(answer) != want {
		return fmt.Errorf("%s asked %s and heard %q, not %q", client.Docker, server.IP, strings.TrimSpace(answer), want)
	}
	return nil
}

// onlyBlue tries an address that exists in one tenant only, from both. The same probe must succeed inside blue, and the
// prober in red must be able to reach its own; else the failure would prove nothing.
func (a article) onlyBlue(ctx context.Context, e *Evidence) error {
	const address = "172.17.42.20"
	probe := []string{"ping", "-c", "2", "-i", "0.2", "-W", "1", address}
	if _, err := a.in(ctx, e, "blue1", probe...); err != nil {
		return fmt.Errorf("the probe does not even work inside blue: %w", err)
	}
	if _, err := a.in(ctx, e, "red1", "ping", "-c", "1", "-W", "3", "172.17.42.10"); err != nil {
		return fmt.Errorf("the prober in red reaches nothing at all: %w", err)
	}
	if out, err := a.in(ctx, e, "red1", probe...); err == nil {
		return fmt.Errorf("red1 reaches %s of blue", address)
	} else if !strings.Contains(out, "100% packet loss") {
		return fmt.Errorf("the probe from red failed for another reason: %w", err)
	}
	page := []string{"timeout", "3", "wget", "-q", "-O", "-", "http://" + address + "/"}
	if _, err := a.in(ctx, e, "blue1", page...); err != nil {
		return fmt.Errorf("the page is not even there inside blue: %w", err)
	}
	if out, err := a.in(ctx, e, "red1", page...); err == nil || out != "" {
		return fmt.Errorf("red1 has read a page of blue: %s", out)
	}
	e.note("(red1 hears nothing from %s)", address)
	return nil
}

// ready waits until each endpoint has been measured: its port answered, and so did a peer host's switch.
func (a article) ready(ctx context.Context, e *Evidence) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	server := a.Host(a.File.Server)
	for {
		waiting, err := a.notReady(ctx, server)
		if err != nil {
			return err
		}
		if len(waiting) == 0 {
			_, err := e.run(ctx, server.Machine, "overlane", "status")
			return err
		}
		select {
		case <-ctx.Done():
			_, _ = e.run(context.WithoutCancel(ctx), server.Machine, "overlane", "status")
			return fmt.Errorf("not ready: %s", strings.Join(waiting, ", "))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (a article) notReady(ctx context.Context, server *lab.Host) (waiting []string, err error) {
	out, err := server.Exec(ctx, "overlane", "get", "endpoints", "-o", "json")
	if err != nil {
		return nil, err
	}
	var list struct{ Items []model.Object }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("read endpoints: %w", err)
	}
	if len(list.Items) != len(a.File.Endpoints) {
		return nil, fmt.Errorf("there are %d endpoints, not %d", len(list.Items), len(a.File.Endpoints))
	}
	for _, o := range list.Items {
		if s, _ := o.Status.(*model.EndpointStatus); s == nil || s.State != model.Ready {
			waiting = append(waiting, o.Name)
		}
	}
	return waiting, nil
}
