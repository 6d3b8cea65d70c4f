package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Each connection costs a file descriptor, and the store in this process ends it when there are none left. So other machines may
// have so many and no more, and who has shown nothing cannot take them from the hosts:
//
//   - a new connection has shown nothing yet. There may be many of those for a moment; if there are too many, the oldest goes, since an
//     honest handshake is quick;
//   - a stranger's, without the certificate of a host, may live long enough to join. If there are too many, the newest goes;
//   - a host's may stay.
//
// The unix socket does not count: only admins reach it.
const (
	reservedFiles   = 256 // for the store, and for admins
	leastFiles      = 512 // with fewer there is no listening
	mostConnections = 10_000

	newConnections      = 128 // of all addresses, and
	newPerAddress       = 32
	strangerConnections = 64
	strangersPerAddress = 16
	hostConnections     = 32 // of each host; an agent has one, and each command on its machine

	strangerLife = 30 * time.Second
)

// connections are those of other machines. As a listener it gives each of them out as new.
type connections struct {
	net.Listener
	most int                              // of all kinds
	host func(tls.ConnectionState) string // whose a connection is; empty: a stranger's
	life time.Duration                    // of a stranger's
	log  *slog.Logger

	mu   sync.Mutex
	kept map[standing][]*connection // the oldest first
}

// standing is what a connection has shown of its other end.
type standing string

const (
	fresh    standing = "new"
	unknown  standing = "stranger"
	verified standing = "host"
)

// connection is one from another machine.
type connection struct {
	net.Conn
	all  *connections
	from netip.Addr // or the network that one machine has of IPv6
	host string     // that it is verified of
	is   standing   // empty: it is closed
	end  *time.Timer
}

// fit is how many connections there may be with so many files.
func fit(files uint64) (int, error) {
	if files < leastFiles {
		return 0, fmt.Errorf("listen for other machines: %d open files are allowed, and the server needs %d; raise the limit (ulimit -n, or LimitNOFILE of its unit)", files, leastFiles)
	}
	return int(min(files-reservedFiles, mostConnections)), nil
}

func openFiles() (uint64, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("listen for other machines: read the limit of open files: %w", err)
	}
	return limit.Cur, nil
}

// Accept waits for the next connection.
func (cs *connections) Accept() (net.Conn, error) {
	accepted, err := cs.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: accepted, all: cs, from: machineAt(accepted.RemoteAddr())}
	cs.mu.Lock()
	gone := cs.enter(c, fresh)
	cs.mu.Unlock()
	cs.drop(gone, "too many connections that have shown nothing yet")
	return c, nil
}

// machineAt is what is counted as one machine: an address, of IPv6 the network that a machine gets whole.
func machineAt(a net.Addr) netip.Addr {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	address := at.Addr().Unmap().WithZone("")
	if address.Is4() {
		return address
	}
	network, _ := address.Prefix(64) // an IPv6 address has one
	return network.Addr()
}

// met takes down who a connection is from, once its handshake is done. It is the ConnState of an http.Server.
func (cs *connections) met(shaken net.Conn, state http.ConnState) {
	over, ok := shaken.(*tls.Conn)
	if !ok || state != http.StateActive {
		return
	}
	c, ok := over.NetConn().(*connection)
	if !ok || cs.standing(c) != fresh {
		return
	}
	host, is := cs.host(over.ConnectionState()), unknown
	if host != "" {
		is = verified
	}
	cs.mu.Lock()
	c.host = host
	gone := cs.enter(c, is)
	if is == unknown && c.is == unknown {
		c.end = time.AfterFunc(cs.life, func() { cs.drop(c, "its time without a certificate is over") })
	}
	cs.mu.Unlock()
	cs.drop(gone, "too many connections like it")
}

func (cs *connections) standing(c *connection) standing {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return c.is
}

// enter takes a connection in as what it is now, and says which one has to go. The caller holds the lock.
func (cs *connections) enter(c *connection, is standing) (gone *connection) {
	if c.is == "" && is != fresh {
		return nil // it was closed in between
	}
	cs.leave(c)
	c.is = is
	cs.kept[is] = append(cs.kept[is], c)
	switch is {
	case fresh:
		return cs.beyond(is, newConnections, newPerAddress, c.sameMachine)
	case unknown:
		if cs.beyond(is, strangerConnections, strangersPerAddress, c.sameMachine) != nil {
			return c
		}
	case verified:
		if cs.beyond(is, cs.most-newConnections-strangerConnections, hostConnections, c.sameHost) != nil {
			return c
		}
	}
	return nil
}

func (c *connection) sameMachine(other *connection) bool { return other.from == c.from }
func (c *connection) sameHost(other *connection) bool    { return other.host == c.host }

// beyond is the oldest of those that are too many, in all or alike; nil if there are not.
func (cs *connections) beyond(is standing, most, mostAlike int, alike func(*connection) bool) *connection {
	n := 0
	for _, c := range cs.kept[is] {
		if alike(c) {
			n++
		}
	}
	switch {
	case n > mostAlike:
		return cs.kept[is][slices.IndexFunc(cs.kept[is], alike)]
	case len(cs.kept[is]) > most:
		return cs.kept[is][0]
	}
	return nil
}

func (cs *connections) leave(c *connection) {
	if i := slices.Index(cs.kept[c.is], c); i >= 0 {
		cs.kept[c.is] = slices.Delete(cs.kept[c.is], i, i+1)
	}
	c.is = ""
	if c.end != nil {
		c.end.Stop()
	}
}

func (cs *connections) drop(c *connection, why string) {
	if c != nil {
		cs.log.Debug("connection closed", "remote", c.RemoteAddr().String(), "why", why)
		_ = c.Close() // whoever serves it notices
	}
}

// Close gives its place to another.
func (c *connection) Close() error {
	c.all.mu.Lock()
	c.all.leave(c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}
