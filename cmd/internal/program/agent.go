package program

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/overlane/overlane/agent/local"
)

// AgentFlags are the command line of overlane agent.
type AgentFlags struct {
	Config string // path of the configuration file; the host's certificate is beside it

	Verbose bool
}

// NewAgentCommand is overlane agent: overlane parses its flags, and has overlane-agent run it, which parses them again.
func NewAgentCommand(run func(*cobra.Command, AgentFlags) error) *cobra.Command {
	var f AgentFlags
	c := &cobra.Command{
		Use:   "agent",
		Short: "Run the agent of this host",
		Long: "Run the agent of this host: it keeps the switch at what intent says, plugs endpoints in, and measures.\n" +
			"Stopping it changes nothing in the switch, and packets flow on.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return run(c, f) },
	}
	c.Flags().StringVar(&f.Config, "config", filepath.Join(local.DefaultConfigDir, "agent.yaml"), "configuration `FILE`, as overlane join writes it")
	c.Flags().BoolVar(&f.Verbose, "verbose", false, "log what is asked by DHCP, reports that did not arrive, and the like")
	return c
}
