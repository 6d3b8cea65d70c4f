// Package agentd is the program overlane-agent: it makes the agent of its configuration and a client of the server. It is a program of its own,
// because what it links in - OVSDB, netfilter, Docker's client - would cost every start of the command line.
package agentd

import (
	"context"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/overlane/overlane/agent"
	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/cmd/internal/program"
)

// Main runs overlane-agent, and gives the exit status.
func Main(args []string, out, problems io.Writer) int {
	return program.Run(program.NewAgentCommand(func(c *cobra.Command, f program.AgentFlags) error {
		return run(c.Context(), f, problems)
	}), args, out, problems)
}

func run(ctx context.Context, f program.AgentFlags, problems io.Writer) error {
	config, err := local.ReadConfig(f.Config)
	if err != nil {
		return err
	}
	config.Version = program.Version()
	log := program.Logger(problems, program.Level(f.Verbose))
	config.Ready = func() { program.NotifyReady(log) }
	credentials := client.CredentialsIn(filepath.Dir(f.Config))
	tls, err := credentials.TLS()
	if err != nil {
		return err
	}
	server, err := client.New(client.Config{Address: config.Server, TLS: tls})
	if err != nil {
		return err
	}
	defer server.Close()
	go server.KeepCertificate(ctx, credentials, log)
	return agent.New(config, server, log).Run(ctx)
}
