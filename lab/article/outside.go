package article

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/overlane/overlane/internal/pattern"
	"github.com/overlane/overlane/lab"
)

// The router's addresses, where the lab has it.
const routerInside, routerOutside = "192.168.5.1", "198.51.100.1"

// outside asks the router and a server behind it from both hosts: the router sees the container's host, the server sees
// the router.
func (a article) outside(ctx context.Context, e *Evidence) error {
	server := a.Machine("server").Address.String()
	for machine, address := range map[string]string{"router": routerInside, "server": server} {
		stop, err := a.tells(ctx, a.Machine(machine), address)
		if err != nil {
			return err
		}
		defer stop()
	}
	for _, container := range []string{"blue1", "red1", "blue3", "red3"} {
		for _, hop := range []struct{ who, address, want string }{
			{"router", routerInside, a.hostOf(container).Address.String()},
			{"server", server, routerOutside},
		} {
			answer, err := a.answered(ctx, e, container, "http://"+hop.address+"/cgi-bin/who")
			if err != nil {
				return err
			}
			if got := strings.TrimSpace(answer); got != "you are "+hop.want {
				return fmt.Errorf("%s asked the %s who it is and heard %q, not %q", container, hop.who, got, "you are "+hop.want)
			}
		}
	}
	e.note("(the router sees the hosts, the server sees the router, and nobody sees 172.17.42.0/24)")
	return nil
}

// whoScript makes a page that says who asks for it.
const whoScript = `mkdir -p /run/www/cgi-bin
printf '#!/bin/sh\necho\necho "you are $REMOTE_ADDR"\n' >/run/www/cgi-bin/who
chmod +x /run/www/cgi-bin/who`

// tells has a machine answer HTTP with the address of whoever asks, until stop.
func (a article) tells(ctx context.Context, m *lab.Machine, address string) (stop func(), err error) {
	if _, err := m.Exec(ctx, "sh", "-ec", whoScript); err != nil {
		return nil, err
	}
	httpd := m.Command(ctx, "busybox", "httpd", "-f", "-p", address+":80", "-h", "/run/www")
	if err := m.Start(httpd); err != nil {
		return nil, err
	}
	return func() {
		_ = httpd.Process.Kill()
		_ = httpd.Wait()
	}, nil
}

// answered asks until there is an answer: a host may still be opening its way, and a server starting.
func (a article) answered(ctx context.Context, e *Evidence, container, url string) (answer string, err error) {
	return e.answered(ctx, a.hostOf(container).Machine, "docker", "exec", container, "timeout", "3", "wget", "-q", "-O", "-", url)
}

func (e *Evidence) answered(ctx context.Context, m *lab.Machine, argv ...string) (answer string, err error) {
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		seen := new(Evidence)
		answer, err = seen.run(ctx, m, argv...)
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			e.Lines = append(e.Lines, seen.Lines...)
			return answer, err
		}
	}
}

var translation = pattern.Of(`nat\(src=(100\.64\.[0-9.]+):`)

// closed tries what must fail, once with a prober that can reach something: the host for the router, the router for the
// containers.
func (a article) closed(ctx context.Context, e *Evidence) error {
	host, router := a.Host("host1"), a.Machine("router")
	flows, err := host.Exec(ctx, "ovs-ofctl", "-O", "OpenFlow15", "dump-flows", "br-overlane")
	if err != nil {
		return err
	}
	found := translation().FindAllStringSubmatch(flows, -1)
	if len(found) != len(tenants) {
		return fmt.Errorf("host1 translates for %d tenants, not %d", len(found), len(tenants))
	}
	if _, err := e.run(ctx, router, "ip", "route", "replace", "100.64.0.0/10", "via", host.Address.String()); err != nil {
		return err
	}
	defer func() { _, _ = router.Exec(context.WithoutCancel(ctx), "ip", "route", "del", "100.64.0.0/10") }()
	probe := func(to string) []string { return []string{"ping", "-c", "1", "-W", "1", to} }
	if _, err := e.run(ctx, router, probe(host.Address.String())...); err != nil {
		return fmt.Errorf("the router does not even reach the host: %w", err)
	}
	for _, f := range slices.SortedFunc(slices.Values(found), func(x, y []string) int { return strings.Compare(x[1], y[1]) }) {
		if _, err := e.run(ctx, router, probe(f[1])...); err == nil {
			return fmt.Errorf("the router reaches %s, by which host1 knows a tenant", f[1])
		}
	}
	for _, tenant := range tenants {
		if _, err := a.in(ctx, e, tenant+"1", probe(routerInside)...); err != nil {
			return fmt.Errorf("the prober in %s reaches nothing at all: %w", tenant, err)
		}
		if _, err := a.in(ctx, e, tenant+"1", probe(host.Address.String())...); err == nil {
			return fmt.Errorf("%s1 reaches its host", tenant)
		}
	}
	return nil
}
