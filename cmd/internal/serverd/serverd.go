// Package serverd is the program overlane-server: it opens the store, makes the server of its parts, and says where it listens. It is a program
// of its own, because what it links in - an etcd - would cost every start of the command line.
package serverd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/overlane/overlane/cmd/internal/program"
	"github.com/overlane/overlane/server"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/server/identity"
	"github.com/overlane/overlane/store"
	"github.com/spf13/cobra"
)

// Main runs overlane-server, and gives the exit status.
func Main(args []string, out, problems io.Writer) int {
	return program.Run(program.NewServerCommand(func(c *cobra.Command, f program.ServerFlags) error {
		return options{f, out, problems}.serve(c.Context())
	}), args, out, problems)
}

// options are the command line, and where to write.
type options struct {
	program.ServerFlags
	out, err io.Writer
}

func (o options) serve(ctx context.Context) error {
	kept, err := o.open(ctx, program.Logger(o.err, o.storeLevel()))
	if err != nil {
		return err
	}
	defer kept.Close()
	log := program.Logger(o.err, program.Level(o.Verbose))
	s, err := server.New(ctx, server.Config{Store: kept, Log: log, Version: program.Version()})
	if err != nil {
		return err
	}
	defer s.Close()
	secrets := identity.NewSecretStore(kept)
	ca, err := identity.OpenCA(ctx, secrets)
	if err != nil {
		return err
	}
	tokens := identity.NewTokens(secrets, ca)
	s.AddJoining(ca, tokens)
	listeners, err := o.listeners(s, ca)
	if err != nil {
		return err
	}
	if err := o.announce(ctx, s, tokens, listeners); err != nil {
		return err
	}
	program.NotifyReady(log) // who connects from here on is answered
	return s.Serve(ctx, listeners...)
}

// storeLevel leaves out etcd's warnings of what is as it should be.
func (o options) storeLevel() slog.Level {
	if o.Verbose {
		return slog.LevelDebug
	}
	return slog.LevelError
}

// open opens the store.
func (o options) open(ctx context.Context, log *slog.Logger) (store.Store, error) {
	if len(o.Etcd.Endpoints) == 0 {
		return store.OpenEmbedded(ctx, store.EmbeddedConfig{Dir: o.Data, Log: log})
	}
	tls, err := etcdTLS(o.Etcd)
	if err != nil {
		return nil, err
	}
	return store.DialEtcd(ctx, store.EtcdConfig{Endpoints: o.Etcd.Endpoints, TLS: tls, Log: log})
}

// etcdTLS is how to talk to the cluster; nil if the command line does not say.
func etcdTLS(f program.EtcdFlags) (*tls.Config, error) {
	if f.CA == "" && f.Cert == "" && f.Key == "" {
		return nil, nil
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, program.Usagef("--etcd-cert and --etcd-key go together")
	}
	for _, endpoint := range f.Endpoints {
		if strings.HasPrefix(endpoint, "http:") {
			return nil, program.Usagef("--etcd %s is not encrypted, so certificates are of no use: write https://", endpoint)
		}
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		text, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("read etcd's CA: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read etcd's CA: no certificate in %s", f.CA)
		}
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("read the certificate for etcd: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// listeners opens the socket, and the port for other machines if there is to be one.
func (o options) listeners(s *server.Server, ca *identity.CA) ([]server.Listener, error) {
	socket, err := server.ListenUnix(o.Socket)
	if err != nil {
		return nil, err
	}
	if o.Listen == "" {
		return []server.Listener{socket}, nil
	}
	remote, err := s.ListenTLS(o.Listen, ca, o.certificateNames())
	if err != nil {
		_ = socket.Close()
		return nil, err
	}
	return []server.Listener{socket, remote}, nil
}

// certificateNames are this machine's names and addresses, and those of the command line.
func (o options) certificateNames() identity.Names {
	n := identity.Names{DNS: []string{"localhost"}}
	if host, err := os.Hostname(); err == nil {
		n.DNS = append(n.DNS, host)
	}
	for _, a := range program.LocalAddresses() {
		n.Addresses = append(n.Addresses, a.Addr())
	}
	for _, name := range o.Names {
		if a, err := netip.ParseAddr(name); err == nil {
			n.Addresses = append(n.Addresses, a)
		} else {
			n.DNS = append(n.DNS, name)
		}
	}
	return n
}

// announce says where the server is. If no machine has joined yet, and none could, it makes a token and says how.
func (o options) announce(ctx context.Context, s *server.Server, tokens *identity.Tokens, listeners []server.Listener) error {
	fmt.Fprintf(o.out, "overlane server listens on unix://%s\n", o.Socket)
	for _, l := range listeners[1:] {
		fmt.Fprintf(o.out, "overlane server listens on https://%s\n", l.Addr())
	}
	if len(listeners) < 2 || s.State().Len("Host") > 0 {
		return nil
	}
	all, err := tokens.List(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(t api.TokenInfo) bool { return t.State(time.Now()) == "valid" }) {
		fmt.Fprintln(o.out, "no machine has joined yet; overlane token list shows who could, and overlane token create makes a token")
		return nil
	}
	made, err := tokens.Create(ctx, api.TokenRequest{})
	if err != nil {
		return err
	}
	program.PrintJoin(o.out, listeners[1].Addr().String(), made)
	return nil
}
