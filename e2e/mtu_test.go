package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// learnsMTU has the client send more at once than an endpoint takes, by TCP and by ping: it is told how much that is,
// and no byte of the connection is lost. The endpoint promises to take what fills the client's own link, as one behind
// a narrower link would.
func (n *network) learnsMTU(host, netns, public string, passages ...string) {
	n.t.Helper()
	if out, err := n.in(host, netns, "sh", "-c", "ip route change $(ip route show default) advmss 1460"); err != nil {
		n.t.Fatalf("%v\n%s", err, out)
	}
	const size = 2 << 20
	before := n.tooLong(passages...)
	n.uploads(n.Machine("client").Netns(), n.inside(host, netns), public, 7300, size)
	n.knowsMTU(public)
	n.at("client", "ip", "route", "flush", "cache")
	n.eventually("a ping is said to be too long", func() error {
		ctx, cancel := context.WithTimeout(n.t.Context(), patience)
		defer cancel()
		out, err := n.Machine("client").Exec(ctx, "ping", "-c1", "-W1", "-M", "do", "-s", "1472", public)
		if !strings.Contains(out, "From 203.0.113.") || !strings.Contains(out, "mtu = 1450") {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
	n.knowsMTU(public)
	n.at("client", "ping", "-c1", "-W5", "-M", "do", "-s", "1422", public)
	n.eventually("what was too long is counted, and nothing else", func() error {
		if counted := n.tooLong(passages...) - before; counted == 0 || counted > size/1450/2 {
			return fmt.Errorf("%d are", counted)
		}
		return nil
	})
}

func (n *network) tooLong(passages ...string) (sum uint64) {
	n.t.Helper()
	for _, p := range passages {
		sum += n.drops(p, "exceeds-mtu")
	}
	return sum
}

func (n *network) knowsMTU(public string) {
	n.t.Helper()
	if out := n.at("client", "ip", "route", "get", public); !strings.Contains(out, "mtu 1450") {
		n.t.Errorf("the client's kernel has not learnt it:\n%s", out)
	}
}

// uploads sends so many bytes from one namespace to a public address of another one.
func (n *network) uploads(from, to, public string, port, size int) {
	n.t.Helper()
	var listener net.Listener
	inNetns(n.t, to, func() (err error) {
		listener, err = net.Listen("tcp4", fmt.Sprint(":", port))
		return err
	})
	defer listener.Close()
	type result struct {
		n   int64
		err error
	}
	received := make(chan result, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			received <- result{0, err}
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		count, err := io.Copy(io.Discard, c)
		received <- result{count, err}
	}()
	inNetns(n.t, from, func() error {
		c, err := net.DialTimeout("tcp4", net.JoinHostPort(public, fmt.Sprint(port)), patience)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		_, err = c.Write(make([]byte, size))
		return err
	})
	if got := <-received; got.err != nil || got.n != int64(size) {
		n.t.Errorf("%d bytes of %d have come: %v", got.n, size, got.err)
	}
}

// showsHost traces the route from outside to a public address, which its host has, too: the last two hops are known by
// it.
func (n *network) showsHost(public string) {
	n.t.Helper()
	if out := n.at("client", "busybox", "traceroute", "-n", "-q1", "-w2", "-m9", public); strings.Count(out, "  "+public) != 2 {
		n.t.Errorf("to %s:\n%s", public, out)
	}
}
