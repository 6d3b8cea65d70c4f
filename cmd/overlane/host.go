package main

import (
	"fmt"

	"github.com/overlane/overlane/model"
	"github.com/spf13/cobra"
)

func newHost(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "host",
		Short: "Revoke a host's certificate",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return usagef("host wants revoke NAME") },
	}
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
