package program

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/server/api"
)

// PrintJoin says how another machine joins a server that listens on an address.
func PrintJoin(w io.Writer, listen string, t api.NewToken) {
	fmt.Fprintf(w, "\nTo make another machine a host, run there (one machine, until %s):\n\n    overlane join %s %s\n\n"+
		"overlane token create makes more tokens.\n", t.Expires.Local().Format("15:04"), joinAddress(listen), t.Text)
}

// joinAddress is what another machine would dial.
func joinAddress(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "THIS-MACHINE"
		for _, p := range LocalAddresses() {
			if a := p.Addr(); !a.IsLoopback() && !a.IsLinkLocalUnicast() {
				host = a.String()
				break
			}
		}
	}
	if port == client.DefaultPort && !strings.Contains(host, ":") {
		return host
	}
	return net.JoinHostPort(host, port)
}

// LocalAddresses are the addresses of this machine's interfaces, with their prefixes.
func LocalAddresses() []netip.Prefix {
	var found []netip.Prefix
	addresses, _ := net.InterfaceAddrs() // none: then the machine has none to tell
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			found = append(found, p)
		}
	}
	return found
}
