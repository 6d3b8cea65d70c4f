package article

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/model"
)

// internet is the article's section E on the lab of the drills: both designs of an internet gateway, side by side.
type internet struct{ article }

// The public addresses of the lab, and who has them.
var publics = []struct{ vpc, address, inside, way string }{
	{"blue", "1.22.3.5", "blue1", "by gateways, over VXLAN"},
	{"green", "1.22.4.5", "green1", "by edges, without an overlay"},
}

// InternetChecks are the checks of the second act.
func InternetChecks(l *lab.Lab) []Check {
	n := internet{article{l}}
	return []Check{
		{"every public address was measured to be ready", n.ready},
		{"from the internet to an endpoint, in both designs; it sees the true client", n.inbound},
		{"from an endpoint to the internet, in both designs; the server sees the public address", n.outbound},
		{"from one VPC to another, by the public address", n.across},
		{"an endpoint without a public address shares one, by a block of its ports", n.shared},
	}
}

// ready waits for what the agents measure.
func (n internet) ready(ctx context.Context, e *Evidence) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	server := n.Host(n.File.Server)
	for {
		out, err := server.Exec(ctx, "overlane", "get", "publicips", "-o", "json")
		if err != nil {
			return err
		}
		var list struct{ Items []model.Object }
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return fmt.Errorf("read public IPs: %w", err)
		}
		waiting := ""
		for _, o := range list.Items {
			if s, _ := o.Status.(*model.PublicIPStatus); s == nil || s.State != model.PublicReady {
				waiting = o.Name
			}
		}
		if waiting == "" && len(list.Items) == len(publics) {
			_, err := e.run(ctx, server.Machine, "overlane", "get", "publicips")
			return err
		}
		select {
		case <-ctx.Done():
			_, _ = e.run(context.WithoutCancel(ctx), server.Machine, "overlane", "get", "publicips")
			return errors.New("not ready: " + waiting)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (n internet) inbound(ctx context.Context, e *Evidence) error {
	client := n.Machine("client")
	for _, p := range publics {
		stop, err := n.serve(ctx, n.Host("host1"), p.inside)
		if err != nil {
			return err
		}
		out, err := e.answered(ctx, client, "busybox", "timeout", "3", "busybox", "wget", "-q", "-O", "-", "http://"+p.address+"/cgi-bin/who")
		stop()
		if err != nil {
			return err
		}
		if want := "you are " + client.Address.String(); strings.TrimSpace(out) != want {
			return fmt.Errorf("%s heard %q at %s, not %q", client.Name, strings.TrimSpace(out), p.address, want)
		}
		e.note("(%s: %s)", p.vpc, p.way)
	}
	return nil
}

func (n internet) outbound(ctx context.Context, e *Evidence) error {
	server := n.Machine("server")
	stop, err := n.tells(ctx, server, server.Address.String())
	if err != nil {
		return err
	}
	defer stop()
	for _, p := range publics {
		if err := n.askedAs(ctx, e, "host1", p.inside, server.Address.String(), func(who string) bool { return who == p.address }); err != nil {
			return err
		}
	}
	return nil
}

// across goes out by the gateways, through the router, and in by the edges.
func (n internet) across(ctx context.Context, e *Evidence) error {
	stop, err := n.serve(ctx, n.Host("host1"), "green1")
	if err != nil {
		return err
	}
	defer stop()
	return n.askedAs(ctx, e, "host1", "blue1", "1.22.4.5", func(who string) bool { return who == "1.22.3.5" })
}

func (n internet) shared(ctx context.Context, e *Evidence) error {
	server := n.Machine("server")
	stop, err := n.tells(ctx, server, server.Address.String())
	if err != nil {
		return err
	}
	defer stop()
	if err := n.askedAs(ctx, e, "host2", "blue2", server.Address.String(), func(who string) bool {
		return strings.HasPrefix(who, "1.22.3.") && who != "1.22.3.5"
	}); err != nil {
		return err
	}
	_, err = e.run(ctx, n.Host(n.File.Server).Machine, "overlane", "get", "portblocks")
	return err
}

// askedAs has an endpoint ask somebody who it is.
func (n internet) askedAs(ctx context.Context, e *Evidence, host, netns, address string, right func(who string) bool) error {
	out, err := e.answered(ctx, n.Host(host).Machine, "ip", "netns", "exec", netns, "busybox", "timeout", "3", "busybox", "wget", "-q", "-O", "-", "http://"+address+"/cgi-bin/who")
	if err != nil {
		return err
	}
	if who := strings.TrimPrefix(strings.TrimSpace(out), "you are "); !right(who) {
		return fmt.Errorf("%s asked %s and was seen as %s", netns, address, who)
	}
	return nil
}

// serve has an endpoint tell who asks.
func (n internet) serve(ctx context.Context, h *lab.Host, netns string) (stop func(), err error) {
	if _, err := h.Exec(ctx, "sh", "-ec", whoScript); err != nil {
		return nil, err
	}
	httpd := h.Command(ctx, "ip", "netns", "exec", netns, "busybox", "httpd", "-f", "-p", "0.0.0.0:80", "-h", "/run/www")
	if err := h.Start(httpd); err != nil {
		return nil, err
	}
	return func() {
		_ = httpd.Process.Kill()
		_ = httpd.Wait()
	}, nil
}
