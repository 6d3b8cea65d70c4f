package main

import (
	"net"
	"net/netip"
	"time"
)

// exchange is a client and a server that echoes, in the namespaces at the ends of a path.
type exchange struct {
	client net.Conn
	server interface{ Close() error }
}

const echoPort = 7777

func newExchange(p *path, network string) (e exchange, err error) {
	serve := e.serveTCP
	if network == "udp" {
		serve = e.serveUDP
	}
	at := netip.AddrPortFrom(p.address, echoPort).String()
	own := at
	if p.own.IsValid() {
		own = netip.AddrPortFrom(p.own, echoPort).String()
	}
	if err := within(p.to, p.netns, func() error { return serve(own) }); err != nil {
		return e, err
	}
	err = within(p.from, p.netns, func() error {
		e.client, err = net.Dial(network, at)
		return err
	})
	if err != nil {
		e.server.Close()
	}
	return e, err
}

func (e *exchange) serveTCP(at string) error {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	e.server = l
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buffer := make([]byte, 64)
		for {
			n, err := c.Read(buffer)
			if err != nil {
				return
			}
			if _, err := c.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	return nil
}

func (e *exchange) serveUDP(at string) error {
	c, err := net.ListenPacket("udp", at)
	if err != nil {
		return err
	}
	e.server = c
	go func() {
		buffer := make([]byte, 64)
		for {
			n, from, err := c.ReadFrom(buffer)
			if err != nil {
				return
			}
			if _, err := c.WriteTo(buffer[:n], from); err != nil {
				return
			}
		}
	}()
	return nil
}

// rate is by the median of the round-trip times: other work of the machine disturbs the mean.
func (e *exchange) rate(during time.Duration) (float64, error) {
	var times []float64
	buffer := make([]byte, 64)
	for end := time.Now().Add(during); time.Now().Before(end); {
		began := time.Now()
		if _, err := e.client.Write(buffer[:1]); err != nil {
			return 0, err
		}
		if err := e.client.SetReadDeadline(began.Add(time.Second)); err != nil {
			return 0, err
		}
		if _, err := e.client.Read(buffer); err != nil {
			return 0, err
		}
		times = append(times, time.Since(began).Seconds())
	}
	return 1 / at(times, 0.5), nil
}

func (e *exchange) close() {
	e.client.Close()
	e.server.Close()
}
