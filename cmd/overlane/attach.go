package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"

	"github.com/overlane/overlane/agent"
	"github.com/overlane/overlane/model"
	"github.com/spf13/cobra"
)

// defaultAgentSocket is where an agent listens unless its configuration says otherwise.
const defaultAgentSocket = "/run/overlane/agent.sock"

// agentFlag adds --agent to a command that talks to the agent of this machine.
func agentFlag(c *cobra.Command, local *agent.Local) {
	c.Flags().StringVar(&local.Socket, "agent", cmp.Or(os.Getenv("OVERLANE_AGENT"), defaultAgentSocket), "`SOCKET` of this machine's agent ($OVERLANE_AGENT)")
}

func newAttach(e *env) *cobra.Command {
	var (
		local   agent.Local
		r       agent.AttachRequest
		ip, mac string
		output  string
	)
	c := &cobra.Command{
		Use:   "attach [CONTAINER] --subnet VPC/SUBNET",
		Short: "Plug a container or network namespace of this host into a subnet",
		Long: "Plug a Docker container (started with --net=none) or a network namespace of this host into a subnet. It returns when the\n" +
			"switch has confirmed the flows. Doing it again changes nothing; if it fails, nothing is left behind.",
		Example: "  overlane attach web1 --subnet blue/web\n  overlane attach --netns test --subnet blue/web --ip 172.17.42.9",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				r.Container = args[0]
			}
			if err := checkTarget(r.Container, r.Netns); err != nil {
				return err
			}
			if r.Subnet == "" {
				return usagef("attach wants --subnet VPC/SUBNET")
			}
			if err := parseAddresses(&r, ip, mac); err != nil {
				return err
			}
			reply, err := local.Attach(c.Context(), r)
			if err != nil {
				return err
			}
			if output == "json" {
				return e.printJSON(reply)
			}
			e.printAttached(reply)
			return nil
		},
	}
	agentFlag(c, &local)
	c.Flags().StringVar(&r.Subnet, "subnet", "", "`VPC/SUBNET` to plug into")
	c.Flags().StringVar(&r.Netns, "netns", "", "network namespace: `NAME`, path, or process ID")
	c.Flags().StringVar(&ip, "ip", "", "fixed `ADDRESS`; default: the next free one")
	c.Flags().StringVar(&mac, "mac", "", "fixed `MAC`; default: derived from the address")
	c.Flags().StringVar(&r.Name, "name", "", "last part of the endpoint's `NAME`; default: the container's or namespace's")
	c.Flags().StringVar(&r.Interface, "interface", "eth0", "`NAME` of the interface inside")
	outputFlag(c, &output, "text", "json")
	return c
}

func checkTarget(container, netns string) error {
	if (container == "") == (netns == "") {
		return usagef("name one container, or --netns")
	}
	return nil
}

func parseAddresses(r *agent.AttachRequest, ip, mac string) (err error) {
	if ip != "" {
		if r.Address, err = netip.ParseAddr(ip); err != nil {
			return usagef("--ip %q is no IP address", ip)
		}
	}
	if mac != "" {
		if r.MAC, err = model.ParseMAC(mac); err != nil {
			return usagef("--mac %q is no MAC address", mac)
		}
	}
	return nil
}

func (e *env) printAttached(r agent.AttachReply) {
	how := "attached"
	if r.Unchanged {
		how = "unchanged"
	}
	fmt.Fprintf(e.out, "%s %s: %s, gateway %s, MAC %s, MTU %d\n", e.ink.bold(r.Endpoint), how, r.Address, r.Gateway, r.MAC, r.MTU)
}

func newDetach(e *env) *cobra.Command {
	var (
		local agent.Local
		r     agent.DetachRequest
	)
	c := &cobra.Command{
		Use:   "detach [CONTAINER]",
		Short: "Unplug a container or network namespace of this host",
		Long: "Unplug a container, a network namespace or one endpoint of this host. Endpoints that attach had made are deleted, others\n" +
			"keep their addresses. What is not attached is no error.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				r.Container = args[0]
			}
			if r.Container == "" && r.Netns == "" && r.Endpoint == "" {
				return usagef("name a container, --netns or --endpoint")
			}
			names, err := local.Detach(c.Context(), r)
			for _, name := range names {
				fmt.Fprintf(e.out, "%s detached\n", e.ink.bold(name))
			}
			return err
		},
	}
	agentFlag(c, &local)
	c.Flags().StringVar(&r.Netns, "netns", "", "network namespace: `NAME`, path, or process ID")
	c.Flags().StringVar(&r.Endpoint, "endpoint", "", "`VPC/SUBNET/ENDPOINT`")
	c.Flags().StringVar(&r.Subnet, "subnet", "", "only from this `VPC/SUBNET`")
	return c
}
