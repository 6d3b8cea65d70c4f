package e2e

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/labtest"
)

// outside is a lab with two machines on the internet, and the article's intent.
func outside(t testing.TB, hosts ...lab.HostSpec) *network {
	t.Helper()
	n := up(t, lab.File{
		Hosts: hosts, Server: hosts[0].Name,
		Outside: &lab.Outside{Machines: []lab.MachineSpec{{Name: "client"}, {Name: "server"}}},
	})
	n.apply(article)
	return n
}

const (
	snatOfBlue = "{kind: InternetGateway, name: blue, spec: {snat: true}}"
	snatOfRed  = "{kind: InternetGateway, name: red, spec: {snat: true}}"
	noneOfBlue = "{kind: InternetGateway, name: blue, spec: {snat: false}}"
	noneOfRed  = "{kind: InternetGateway, name: red, spec: {snat: false}}"
)

// at runs a command on a machine outside.
func (n *network) at(machine string, argv ...string) string {
	n.t.Helper()
	return labtest.Exec(n.t, n.Machine(machine), argv...)
}

// addressOf is a machine's, the router's towards the internet.
func (n *network) addressOf(machine string) string {
	if machine == "router" {
		return "198.51.100.1"
	}
	return n.Machine(machine).Address.String()
}

// reaches waits until an echo comes back: a way outside is open once its host has seen to it.
func (n *network) reaches(host, netns, to string) {
	n.t.Helper()
	n.eventually(netns+" reaches "+to, func() error {
		_, err := n.in(host, netns, "ping", "-c1", "-W1", to)
		return err
	})
}

// stockDocker starts a host's Docker anew as a distribution does, with its own network and its rules for iptables.
func (n *network) stockDocker(host string) {
	n.t.Helper()
	n.on(host, "sh", "-ec", `
pid=$(pidof dockerd)
flags=$(tr '\0' '\n' </proc/$pid/cmdline | grep -A9 -e --exec-opt)
kill $pid
while [ -e /proc/$pid ]; do sleep 0.05; done
setsid dockerd $flags </dev/null >/run/dockerd.log 2>&1 &
until docker version >/dev/null 2>&1; do sleep 0.05; done`)
}

// attached starts a container and attaches it, and gives the path of its namespace.
func (n *network) attached(host, name, subnet string, flags ...string) (netns string) {
	n.t.Helper()
	if err := n.Host(host).RunContainer(n.t.Context(), name); err != nil {
		n.t.Fatal(err)
	}
	n.attach(host, append([]string{name, "--subnet", subnet}, flags...)...)
	pid := n.on(host, "docker", "inspect", "-f", "{{.State.Pid}}", name)
	return n.Host(host).Root() + "/proc/" + strings.TrimSpace(pid) + "/ns/net"
}

// tellerPort is where a teller answers.
const tellerPort = 7000

// teller is a server outside, of TCP and UDP, that gives back what it is sent, and says first who has sent it.
type teller struct {
	tcp net.Listener
	udp *net.UDPConn
}

func (n *network) teller(machine string) *teller {
	n.t.Helper()
	s := &teller{}
	inNetns(n.t, n.Machine(machine).Netns(), func() (err error) {
		address := net.JoinHostPort(n.addressOf(machine), strconv.Itoa(tellerPort))
		if s.tcp, err = net.Listen("tcp4", address); err != nil {
			return err
		}
		udp, err := net.ListenPacket("udp4", address)
		s.udp, _ = udp.(*net.UDPConn)
		return err
	})
	n.t.Cleanup(func() {
		s.tcp.Close()
		s.udp.Close()
	})
	go s.accept()
	go s.answer()
	return s
}

func (s *teller) accept() {
	for {
		c, err := s.tcp.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			fmt.Fprintln(c, c.RemoteAddr())
			_, _ = io.Copy(c, c)
		}()
	}
}

func (s *teller) answer() {
	buffer := make([]byte, 1<<16)
	for {
		size, from, err := s.udp.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		_, _ = s.udp.WriteToUDPAddrPort(append([]byte(from.String()+"\n"), buffer[:size]...), from)
	}
}

// dial connects from a port of a namespace, 0 for any.
func (n *network) dial(netns, network string, port int, to string) (c net.Conn, err error) {
	n.t.Helper()
	inNetns(n.t, netns, func() error {
		d := net.Dialer{Timeout: 3 * time.Second, Control: reuse, LocalAddr: &net.TCPAddr{Port: port}}
		if network == "udp4" {
			d.LocalAddr = &net.UDPAddr{Port: port}
		}
		c, err = d.DialContext(n.t.Context(), network, to)
		return nil
	})
	if err == nil {
		n.t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// reuse lets a port be used again at once.
func reuse(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
}

// talk is a connection to a teller, or a flow of datagrams.
type talk struct {
	net.Conn
	seen netip.AddrPort // by which the teller knows us
	rest []byte         // read, and not asked for
	sent [][]byte       // datagrams, whose answers may come late
}

// talks begins one.
func (n *network) talks(netns, network string, port int) (*talk, error) {
	n.t.Helper()
	c, err := n.dial(netns, network, port, net.JoinHostPort(n.addressOf("server"), strconv.Itoa(tellerPort)))
	if err != nil {
		return nil, err
	}
	k := &talk{Conn: c}
	if network == "tcp4" {
		err = k.greeted()
	}
	return k, err
}

// greeted reads the teller's first line.
func (k *talk) greeted() error {
	_ = k.SetReadDeadline(time.Now().Add(patience))
	buffer := make([]byte, 1<<16)
	for {
		size, err := k.Read(buffer)
		if err != nil {
			return err
		}
		k.rest = append(k.rest, buffer[:size]...)
		if line, rest, ok := bytes.Cut(k.rest, []byte("\n")); ok {
			k.rest = rest
			k.seen, err = netip.ParseAddrPort(string(line))
			return err
		}
	}
}

// echo sends bytes that nobody else sends, and wants them back.
func (k *talk) echo(size int) error {
	sent := make([]byte, size)
	_, _ = rand.Read(sent)
	_ = k.SetDeadline(time.Now().Add(3 * time.Second))
	if _, datagrams := k.Conn.(*net.UDPConn); datagrams {
		return k.echoDatagram(sent)
	}
	_ = k.SetDeadline(time.Now().Add(patience))
	failed := make(chan error, 1)
	go func() {
		_, err := k.Write(sent)
		failed <- err
	}()
	back := make([]byte, size)
	_, err := io.ReadFull(io.MultiReader(bytes.NewReader(k.rest), k.Conn), back)
	k.rest = nil
	if err == nil && !bytes.Equal(back, sent) {
		err = errors.New("somebody else's bytes have come back")
	}
	return errors.Join(err, <-failed)
}

func (k *talk) echoDatagram(sent []byte) error {
	if _, err := k.Write(sent); err != nil {
		return err
	}
	earlier := k.sent
	k.sent = append(k.sent, sent)
	for buffer := make([]byte, 1<<16); ; {
		size, err := k.Read(buffer)
		if err != nil {
			return err
		}
		line, back, _ := bytes.Cut(buffer[:size], []byte("\n"))
		switch {
		case bytes.Equal(back, sent):
			k.seen, err = netip.ParseAddrPort(string(line))
			return err
		case !slices.ContainsFunc(earlier, func(b []byte) bool { return bytes.Equal(b, back) }):
			return errors.New("somebody else's bytes have come back")
		}
	}
}

// dontFragment sets DF on all that is sent.
func dontFragment(t testing.TB, c syscall.Conn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}
