package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/model"
	"github.com/spf13/cobra"
)

// agentFlag adds --agent to a command that talks to the agent of this machine.
func agentFlag(c *cobra.Command, agent *local.Client) {
	c.Flags().StringVar(&agent.Socket, "agent", cmp.Or(os.Getenv("OVERLANE_AGENT"), local.DefaultSocket), "`SOCKET` of this machine's agent ($OVERLANE_AGENT)")
}

func newAttach(e *env) *cobra.Command {
	var (
		agent   local.Client
		r       local.AttachRequest
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
			if err := checkSubnet(r.Subnet); err != nil {
				return err
			}
			if err := parseAddresses(&r, ip, mac); err != nil {
				return err
			}
			reply, err := agent.Attach(c.Context(), r)
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
	agentFlag(c, &agent)
	c.Flags().StringVar(&r.Subnet, "subnet", "", "`VPC/SUBNET` to plug into")
	c.Flags().StringVar(&r.Netns, "netns", "", "network namespace: `NAME`, path, or process ID")
	c.Flags().StringVar(&ip, "ip", "", "fixed `ADDRESS`; default: the next free one")
	c.Flags().StringVar(&mac, "mac", "", "fixed `MAC`; default: derived from the address")
	c.Flags().StringVar(&r.Name, "name", "", "last part of the endpoint's `NAME`; default: the container's or namespace's")
	c.Flags().StringVar(&r.Interface, "interface", "eth0", "`NAME` of the interface inside")
	c.Flags().BoolVar(&r.NoGateway, "no-gateway", false, "make no default route: for a second interface")
	c.Flags().BoolVar(&r.DHCP, "dhcp", false, "set no address and no route: a DHCP client inside asks for them")
	outputFlag(c, &output, "text", "json")
	return c
}

func checkTarget(container, netns string) error {
	if (container == "") == (netns == "") {
		return usagef("name one container, or --netns")
	}
	return nil
}

func checkSubnet(name string) error {
	vpc, subnet, ok := strings.Cut(name, "/")
	switch {
	case name == "":
		return usagef("--subnet is missing: VPC/SUBNET, for example blue/web")
	case !ok || vpc == "" || subnet == "" || strings.Contains(subnet, "/"):
		return usagef("--subnet %s: want VPC/SUBNET, for example blue/web", name)
	}
	return nil
}

func parseAddresses(r *local.AttachRequest, ip, mac string) (err error) {
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

func (e *env) printAttached(r local.AttachReply) {
	how := "attached"
	if r.Unchanged {
		how = "unchanged"
	}
	gateway := "no gateway"
	if r.Gateway.IsValid() {
		gateway = "gateway " + r.Gateway.String()
	}
	fmt.Fprintf(e.out, "%s %s: %s, %s, MAC %s, MTU %d\n", e.palette.bold(r.Endpoint), how, r.Address, gateway, r.MAC, r.MTU)
}

func newDetach(e *env) *cobra.Command {
	var (
		agent local.Client
		r     local.DetachRequest
	)
	c := &cobra.Command{
		Use:   "detach [CONTAINER | VPC/SUBNET/ENDPOINT]",
		Short: "Unplug a container or network namespace of this host",
		Long: "Unplug a container, a network namespace or one endpoint of this host. Endpoints that attach had made are deleted, others\n" +
			"keep their addresses. What is not attached is no error.",
		Example: "  overlane detach web1\n  overlane detach blue/web/web1\n  overlane detach --netns test",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			what, err := toDetach(&r, args)
			if err != nil {
				return err
			}
			names, err := agent.Detach(c.Context(), r)
			for _, name := range names {
				fmt.Fprintf(e.out, "%s detached\n", e.palette.bold(name))
			}
			if err == nil && len(names) == 0 {
				fmt.Fprintf(e.out, "nothing of %s is attached here\n", what)
			}
			return err
		},
	}
	agentFlag(c, &agent)
	c.Flags().StringVar(&r.Netns, "netns", "", "network namespace: `NAME`, path, or process ID")
	c.Flags().StringVar(&r.Endpoint, "endpoint", "", "`VPC/SUBNET/ENDPOINT`")
	c.Flags().StringVar(&r.Subnet, "subnet", "", "only from this `VPC/SUBNET`")
	return c
}

// toDetach completes a request by the argument, and names the endpoint or container. No container's name has a slash.
func toDetach(r *local.DetachRequest, args []string) (what string, err error) {
	for _, arg := range args {
		if strings.Contains(arg, "/") && r.Endpoint == "" {
			r.Endpoint = arg
		} else {
			r.Container = arg
		}
	}
	named := slices.DeleteFunc([]string{r.Container, r.Endpoint, r.Netns}, func(s string) bool { return s == "" })
	if len(named) != 1 {
		return "", usagef("name one container, endpoint (VPC/SUBNET/ENDPOINT) or --netns")
	}
	if r.Subnet != "" {
		err = checkSubnet(r.Subnet)
	}
	return named[0], err
}
