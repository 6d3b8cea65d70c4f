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

// Each connection costs a file descriptor, and the store in this process stops when none are left. So the number of
// connections is limited, and anonymous ones cannot displace those of hosts:
//
//   - A new connection has not finished its handshake. If there are too many, the server closes the oldest, since an
//     honest handshake is quick.
//   - An anonymous connection, without the certificate of a host, may last long enough to join. If there are too many,
//     the server closes the newest.
//   - A connection of a host may stay.
//
// Connections to the unix socket do not count: only admins can reach it.
const (
	reservedFiles   = 256 // for the store, and for admins
	leastFiles      = 512 // below this limit of the process, the server does not listen
	mostConnections = 10_000

	newConnections       = 128 // from all addresses
	newPerAddress        = 32
	anonymousConnections = 64
	anonymousPerAddress  = 16
	hostConnections      = 32 // of each host; its agent needs one, and each command on its machine another

	anonymousLife = 30 * time.Second
)

// connections are the connections of other machines. It is a listener that counts them.
type connections struct {
	net.Listener
	most int                              // connections in all
	host func(tls.ConnectionState) string // the host of a connection; empty: it is anonymous
	life time.Duration                    // of an anonymous connection
	log  *slog.Logger

	mu   sync.Mutex
	kept map[standing][]*connection // the oldest first
}

// standing is the trust in the peer of a connection.
type standing string

const (
	fresh     standing = "new"
	anonymous standing = "anonymous"
	verified  standing = "host"
)

// connection is a connection from another machine.
type connection struct {
	net.Conn
	all  *connections
	from netip.Addr // of IPv6 the /64 network
	host string     // set if it is verified
	is   standing   // empty: it is closed
	end  *time.Timer
}

// fit is the number of connections that a limit of open files allows.
func fit(files uint64) (int, error) {
	if files < leastFiles {
		return 0, fmt.Errorf("listen for other machines: %d open files are allowed, and the server needs %d; raise "+
			"the limit (ulimit -n, or LimitNOFILE of its unit)", files, leastFiles)
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

// machineAt is the address or network that counts as one machine. An IPv6 machine usually has a whole /64.
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

// met records the host of a connection after its handshake. It is the ConnState of an http.Server.
func (cs *connections) met(shaken net.Conn, state http.ConnState) {
	over, ok := shaken.(*tls.Conn)
	if !ok || state != http.StateActive {
		return
	}
	c, ok := over.NetConn().(*connection)
	if !ok || cs.standing(c) != fresh {
		return
	}
	host, is := cs.host(over.ConnectionState()), anonymous
	if host != "" {
		is = verified
	}
	cs.mu.Lock()
	c.host = host
	gone := cs.enter(c, is)
	if is == anonymous && c.is == anonymous {
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

// enter records the standing of a connection, and returns the connection to close for it. The caller holds the lock.
func (cs *connections) enter(c *connection, is standing) (gone *connection) {
	if c.is == "" && is != fresh {
		return nil // it was closed meanwhile
	}
	cs.leave(c)
	c.is = is
	cs.kept[is] = append(cs.kept[is], c)
	switch is {
	case fresh:
		return cs.beyond(is, newConnections, newPerAddress, c.sameMachine)
	case anonymous:
		if cs.beyond(is, anonymousConnections, anonymousPerAddress, c.sameMachine) != nil {
			return c
		}
	case verified:
		if cs.beyond(is, cs.most-newConnections-anonymousConnections, hostConnections, c.sameHost) != nil {
			return c
		}
	}
	return nil
}

func (c *connection) sameMachine(other *connection) bool { return other.from == c.from }
func (c *connection) sameHost(other *connection) bool    { return other.host == c.host }

// beyond is the oldest connection beyond a limit: of all with a standing, or of those from the same peer; nil if
// neither limit is exceeded.
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
		_ = c.Close() // its handler notices
	}
}

// Close closes the connection and no longer counts it.
func (c *connection) Close() error {
	c.all.mu.Lock()
	c.all.leave(c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}
