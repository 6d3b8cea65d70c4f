package main

import (
	"fmt"

	"github.com/overlane/overlane/model"
	"github.com/spf13/cobra"
)

func newHost(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "host",
		Short: "Drain a host of public traffic, or revoke its certificate",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return usagef("host wants drain NAME or revoke NAME") },
	}
	c.AddCommand(newHostDrain(e))
	c.AddCommand(&cobra.Command{
		Use:   "revoke NAME",
		Short: "Refuse a host's certificate from now on",
		Long: "Refuse a host's certificate from now on. Its object, its endpoints and its running network stay as they are;\n" +
			"a token for its name (overlane token create --host NAME) lets a machine join in its place.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.completeNames("Host"),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := e.client()
			if err != nil {
				return err
			}
			o, err := server.Get(c.Context(), model.Key{Kind: "Host", Name: args[0]})
			if err != nil {
				return err
			}
			o.Spec.(*model.HostSpec).Identity = model.NoIdentity
			if _, err := server.Put(c.Context(), o); err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.out, "revoked  Host %s\n", o.Name)
			return err
		},
	})
	return c
}

func newHostDrain(e *env) *cobra.Command {
	var undo bool
	c := &cobra.Command{
		Use:   "drain NAME",
		Short: "Have public traffic take other hosts",
		Long: "Have public traffic take other hosts than this one, for maintenance. Connections stay, and no packet is lost: what still comes passes all\n" +
			"the same. If no other host is there to take it, nothing does.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.completeNames("Host"),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := e.client()
			if err != nil {
				return err
			}
			o, err := server.Get(c.Context(), model.Key{Kind: "Host", Name: args[0]})
			if err != nil {
				return err
			}
			spec := o.Spec.(*model.HostSpec)
			if spec.Outside == nil {
				return fmt.Errorf("no public traffic passes Host %s: it has no spec.outside", o.Name)
			}
			spec.Outside.Drain = !undo
			if _, err := server.Put(c.Context(), o); err != nil {
				return err
			}
			done := "drained"
			if undo {
				done = "not drained any more"
			}
			_, err = fmt.Fprintf(e.out, "%s  Host %s\n", done, o.Name)
			return err
		},
	}
	c.Flags().BoolVar(&undo, "undo", false, "let it pass again")
	return c
}
