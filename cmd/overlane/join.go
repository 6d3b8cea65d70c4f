package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/internal/yamljson"
	"github.com/overlane/overlane/server/api"
	"github.com/spf13/cobra"
)

// joinFlags are the command line of overlane join.
type joinFlags struct {
	name, address, uplink, configDir string
	noStart                          bool
}

// joinTime is how long the server may take to answer.
const joinTime = 30 * time.Second

func newJoin(e *env) *cobra.Command {
	var f joinFlags
	c := &cobra.Command{
		Use:   "join ADDRESS TOKEN",
		Short: "Make this machine a host of the server at ADDRESS",
		Long: "Make this machine a host: get a certificate for it from the server, write the agent's configuration, and start the\n" +
			"agent. The token comes from overlane token create, run on the server; it also proves the server to this machine.\n" +
			"TOKEN may be -, to be read from the standard input.",
		Example: "  overlane join 192.168.5.1 ovl1.k4mf...",
		Args:    cobra.ExactArgs(2),
		RunE:    func(c *cobra.Command, args []string) error { return e.join(c.Context(), args[0], args[1], f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.name, "name", "", "`NAME` of the host; default is this machine's host name")
	flags.StringVar(&f.address, "address", "", "`IPv4` address of this machine that other hosts send tunnel packets to; default is the one that reaches the server")
	flags.StringVar(&f.uplink, "uplink", "", "`NIC` to put into Open vSwitch where there is no kernel datapath; it is never moved unasked")
	flags.StringVar(&f.configDir, "config-dir", local.DefaultConfigDir, "`FOLDER` for the configuration and the host's key")
	flags.BoolVar(&f.noStart, "no-start", false, "do not start the agent")
	return c
}

func (e *env) join(ctx context.Context, address, text string, f joinFlags) error {
	token, err := e.readToken(text)
	if err != nil {
		return err
	}
	config, mtu, err := f.config(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	if err := client.Join(ctx, address, token, config.Host, config.Address, mtu, client.CredentialsIn(f.configDir)); err != nil {
		return err
	}
	path := filepath.Join(f.configDir, "agent.yaml")
	if err := writeAgentConfig(path, config); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s  this machine is Host %s, %s, MTU %d\n", e.palette.green("joined"), config.Host, config.Address, mtu)
	return e.startAgent(ctx, path, f.noStart)
}

// readToken reads the token from the standard input if the argument is "-": the command line is there for everybody to see.
func (e *env) readToken(text string) (api.Token, error) {
	if text == "-" {
		if _, err := fmt.Fscan(e.in, &text); err != nil {
			return api.Token{}, fmt.Errorf("read the join token: %w", err)
		}
	}
	return api.ParseToken(text)
}

// config measures this machine: the agent's configuration, and the underlay's MTU.
func (f joinFlags) config(server string) (local.Config, int, error) {
	c := local.Config{Host: f.name, Server: "https://" + client.HostPort(server), Uplink: f.uplink}
	var err error
	if c.Host == "" {
		if c.Host, err = os.Hostname(); err != nil {
			return c, 0, fmt.Errorf("find this machine's name: %w; give one with --name", err)
		}
	}
	if c.Address, err = f.vtep(server); err != nil {
		return c, 0, err
	}
	i, err := local.Underlay(c.Address)
	if err != nil {
		return c, 0, err
	}
	return c, min(i.MTU, maxMTU), nil
}

// maxMTU is the longest IPv4 packet; a loopback's MTU is a byte more.
const maxMTU = 65535

func (f joinFlags) vtep(server string) (netip.Addr, error) {
	if f.address == "" {
		return addressTowards(client.HostPort(server))
	}
	a, err := netip.ParseAddr(f.address)
	if err != nil || !a.Is4() {
		return a, usagef("--address %s: is not an IPv4 address", f.address)
	}
	return a, nil
}

// writeAgentConfig replaces what joining decides, and keeps what the user has added.
func writeAgentConfig(path string, c local.Config) error {
	kept := map[string]any{}
	if old, err := os.ReadFile(path); err == nil {
		if err := yamljson.Unmarshal(old, &kept); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
	}
	text, err := yamljson.Marshal(c)
	if err == nil {
		err = yamljson.Unmarshal(text, &kept)
	}
	if err == nil {
		text, err = yamljson.Marshal(kept)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return client.WriteFile(path, text, 0o644)
}
