package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// A public address that passes to another endpoint of the host leaves the connections behind that its first owner has,
// in both directions.
func TestPublicAddressIsHandedOn(t *testing.T) {
	t.Parallel()
	n := central(t)
	n.awaitOpen("g1", "g2")
	n.apply("{kind: InternetGateway, name: blue, spec: {design: central, snat: true}}")
	const public = "1.22.3.5"
	client, server := n.Machine("client"), n.Machine("server")
	a, c := n.inside("host1", "a"), n.inside("host1", "c")
	echoes := func(from, to, address string, port int) (again func() error) {
		t.Helper()
		var l net.Listener
		inNetns(t, to, func() (err error) {
			l, err = net.Listen("tcp4", fmt.Sprint(":", port))
			return err
		})
		t.Cleanup(func() { l.Close() })
		go func() {
			if served, err := l.Accept(); err == nil {
				_, _ = io.Copy(served, served)
			}
		}()
		var dialed net.Conn
		n.eventually(fmt.Sprintf("%s port %d is reached", address, port), func() (err error) {
			dialed, err = n.dial(from, "tcp4", 0, net.JoinHostPort(address, fmt.Sprint(port)))
			return err
		})
		return func() error {
			_ = dialed.SetDeadline(time.Now().Add(2 * time.Second))
			if _, err := dialed.Write([]byte("x")); err != nil {
				return err
			}
			_, err := io.ReadFull(dialed, make([]byte, 1))
			return err
		}
	}
	conversations := map[string]func() error{
		"from outside": echoes(client.Netns(), a, public, 7001),
		"to outside":   echoes(a, server.Netns(), server.Address.String(), 7002),
	}
	for name, again := range conversations {
		if err := again(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	n.apply("{kind: PublicIP, name: blue/a, spec: {address: " + public + ", endpoint: blue/web/c}}")
	fresh := echoes(client.Netns(), c, public, 7003)
	if err := fresh(); err != nil {
		t.Errorf("the second owner does not answer: %v", err)
	}
	for name, again := range conversations {
		if again() == nil {
			t.Errorf("%s: the first owner goes on with its connection in the name of %s", name, public)
		}
	}
}

// An endpoint learns how long a packet may be outside, even if it has but a port of the address.
func TestForwardPathMTU(t *testing.T) {
	t.Parallel()
	n := central(t)
	n.awaitOpen("g1", "g2")
	n.apply(`
{kind: PublicIP, name: blue/shared, spec: {address: 1.22.3.77}}
---
{kind: Forward, name: blue/f, spec: {publicIP: blue/shared, port: 7001, endpoint: blue/web/c, targetPort: 8001}}
`)
	n.at("router", "ip", "link", "set", "eth2", "mtu", "1300")
	const size = 100_000
	var l net.Listener
	inNetns(t, n.inside("host1", "c"), func() (err error) {
		l, err = net.Listen("tcp4", ":8001")
		return err
	})
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write(make([]byte, size))
			c.Close()
		}
	}()
	n.eventually("a long answer comes through", func() error {
		c, err := n.dial(n.Machine("client").Netns(), "tcp4", 0, "1.22.3.77:7001")
		if err != nil {
			return err
		}
		_ = c.SetDeadline(time.Now().Add(3 * time.Second))
		got, err := io.ReadAll(c)
		if err != nil || len(got) != size {
			return errors.Join(fmt.Errorf("%d of %d bytes", len(got), size), err)
		}
		return nil
	})
}
