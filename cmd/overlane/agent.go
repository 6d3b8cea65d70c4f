package main

import (
	"context"
	"path/filepath"

	"github.com/overlane/overlane/agent"
	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/cmd/internal/program"
	"github.com/spf13/cobra"
)

func newAgent(e *env) *cobra.Command {
	var path string
	var verbose bool
	c := &cobra.Command{
		Use:   "agent",
		Short: "Run the agent of this host",
		Long: "Run the agent of this host: it keeps the switch at what intent says, plugs endpoints in, and measures.\n" +
			"Stopping it changes nothing in the switch, and packets flow on.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return e.runAgent(c.Context(), path, verbose) },
	}
	c.Flags().StringVar(&path, "config", filepath.Join(defaultConfigDir, "agent.yaml"), "configuration `FILE`, as overlane join writes it")
	c.Flags().BoolVar(&verbose, "verbose", false, "log what is asked by DHCP, reports that did not arrive, and the like")
	return c
}

func (e *env) runAgent(ctx context.Context, path string, verbose bool) error {
	config, err := agent.ReadConfig(path)
	if err != nil {
		return err
	}
	config.Version = program.Version()
	log := program.Logger(e.err, program.Level(verbose))
	config.Ready = func() { program.NotifyReady(log) }
	credentials := client.CredentialsIn(filepath.Dir(path))
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
