package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/server"
	"github.com/overlane/overlane/server/wire"
	"github.com/overlane/overlane/store"
	"github.com/spf13/cobra"
)

// serverFlags are the command line of overlane server.
type serverFlags struct {
	data, listen, socket string
	names                []string
	etcd                 store.EtcdConfig
	etcdCA, etcdCert     string
	etcdKey              string
	verbose              bool
}

func newServer(e *env) *cobra.Command {
	var f serverFlags
	c := &cobra.Command{
		Use:   "server",
		Short: "Run the server: keep the intent, and tell every host its part of it",
		Long: "Run the server. It keeps its data in one folder, or in an etcd cluster that several servers share (--etcd).\n" +
			"Users of this machine reach it by its socket; other machines by mutual TLS, after overlane join.\n" +
			"Until a machine has joined, it prints how to.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return e.serve(c.Context(), f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.data, "data", "/var/lib/overlane/server", "`FOLDER` of the embedded store")
	flags.StringVar(&f.listen, "listen", ":"+client.DefaultPort, "`ADDRESS` for other machines; empty: only the socket")
	flags.StringVar(&f.socket, "socket", strings.TrimPrefix(client.DefaultAddress, "unix://"), "`PATH` of the socket for this machine")
	flags.StringSliceVar(&f.names, "name", nil, "further `NAMES` and addresses for the server's certificate")
	flags.StringSliceVar(&f.etcd.Endpoints, "etcd", nil, "`URLS` of an etcd cluster to keep everything in")
	flags.StringVar(&f.etcdCA, "etcd-cacert", "", "`FILE` of the cluster's CA")
	flags.StringVar(&f.etcdCert, "etcd-cert", "", "`FILE` of the certificate to show the cluster")
	flags.StringVar(&f.etcdKey, "etcd-key", "", "`FILE` of its key")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "log every request")
	return c
}

func (e *env) serve(ctx context.Context, f serverFlags) error {
	logger := e.logger(f.verbose)
	kept, err := f.open(ctx, e.storeLogger(f.verbose))
	if err != nil {
		return err
	}
	defer kept.Close()
	s, err := server.New(ctx, server.Config{Store: kept, Log: logger, Version: programVersion()})
	if err != nil {
		return err
	}
	defer s.Close()
	vault := server.NewVault(kept)
	ca, err := server.OpenCA(ctx, vault)
	if err != nil {
		return err
	}
	tokens := server.NewTokens(vault, ca)
	s.AddJoining(ca, tokens)
	listeners, err := f.listeners(s, ca)
	if err != nil {
		return err
	}
	if err := e.announce(ctx, f, s, tokens, listeners); err != nil {
		return err
	}
	return s.Serve(ctx, listeners...)
}

// logger logs to the standard error.
func (e *env) logger(verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(e.err, &slog.HandlerOptions{Level: level}))
}

// storeLogger leaves out etcd's warnings of what is as it should be.
func (e *env) storeLogger(verbose bool) *slog.Logger {
	if verbose {
		return e.logger(true)
	}
	return slog.New(slog.NewTextHandler(e.err, &slog.HandlerOptions{Level: slog.LevelError}))
}

// open opens the store.
func (f serverFlags) open(ctx context.Context, log *slog.Logger) (store.Store, error) {
	if len(f.etcd.Endpoints) == 0 {
		return store.OpenEmbedded(ctx, store.EmbeddedConfig{Dir: f.data, Log: log})
	}
	c := f.etcd
	c.Log = log
	var err error
	if c.TLS, err = f.etcdTLS(); err != nil {
		return nil, err
	}
	return store.DialEtcd(ctx, c)
}

// etcdTLS is how to talk to the cluster; nil if the command line does not say.
func (f serverFlags) etcdTLS() (*tls.Config, error) {
	if f.etcdCA == "" && f.etcdCert == "" && f.etcdKey == "" {
		return nil, nil
	}
	if (f.etcdCert == "") != (f.etcdKey == "") {
		return nil, usagef("--etcd-cert and --etcd-key go together")
	}
	for _, endpoint := range f.etcd.Endpoints {
		if strings.HasPrefix(endpoint, "http:") {
			return nil, usagef("--etcd %s is not encrypted, so certificates are of no use: write https://", endpoint)
		}
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.etcdCA != "" {
		text, err := os.ReadFile(f.etcdCA)
		if err != nil {
			return nil, fmt.Errorf("read etcd's CA: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read etcd's CA: no certificate in %s", f.etcdCA)
		}
	}
	if f.etcdCert != "" {
		pair, err := tls.LoadX509KeyPair(f.etcdCert, f.etcdKey)
		if err != nil {
			return nil, fmt.Errorf("read the certificate for etcd: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// listeners opens the socket, and the port for other machines if there is to be one.
func (f serverFlags) listeners(s *server.Server, ca *server.CA) ([]server.Listener, error) {
	socket, err := server.ListenUnix(f.socket)
	if err != nil {
		return nil, err
	}
	if f.listen == "" {
		return []server.Listener{socket}, nil
	}
	remote, err := s.ListenTLS(f.listen, ca, f.certificateNames())
	if err != nil {
		_ = socket.Close()
		return nil, err
	}
	return []server.Listener{socket, remote}, nil
}

// certificateNames are this machine's names and addresses, and those of the command line.
func (f serverFlags) certificateNames() server.Names {
	n := server.Names{DNS: []string{"localhost"}}
	if host, err := os.Hostname(); err == nil {
		n.DNS = append(n.DNS, host)
	}
	for _, a := range localAddresses() {
		n.Addresses = append(n.Addresses, a.Addr())
	}
	for _, name := range f.names {
		if a, err := netip.ParseAddr(name); err == nil {
			n.Addresses = append(n.Addresses, a)
		} else {
			n.DNS = append(n.DNS, name)
		}
	}
	return n
}

// announce says where the server is. If no machine has joined yet, and none could, it makes a token and says how.
func (e *env) announce(ctx context.Context, f serverFlags, s *server.Server, tokens *server.Tokens, listeners []server.Listener) error {
	fmt.Fprintf(e.out, "overlane server listens on unix://%s\n", f.socket)
	for _, l := range listeners[1:] {
		fmt.Fprintf(e.out, "overlane server listens on https://%s\n", l.Addr())
	}
	if len(listeners) < 2 || s.State().Len("Host") > 0 {
		return nil
	}
	all, err := tokens.List(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(t wire.TokenInfo) bool { return t.State(time.Now()) == "valid" }) {
		fmt.Fprintln(e.out, "no machine has joined yet; overlane token list shows who could, and overlane token create makes a token")
		return nil
	}
	made, err := tokens.Create(ctx, wire.TokenRequest{})
	if err != nil {
		return err
	}
	printJoin(e.out, listeners[1].Addr().String(), made)
	return nil
}

func printJoin(w io.Writer, listen string, t wire.NewToken) {
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
		for _, p := range localAddresses() {
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
