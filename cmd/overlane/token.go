package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/overlane/overlane/server/api"
	"github.com/spf13/cobra"
)

func newToken(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke the tokens that machines join with",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return usagef("token wants create, list or revoke") },
	}
	c.AddCommand(newTokenCreate(e), newTokenList(e), newTokenRevoke(e))
	return c
}

// serverStarts is how long a server may take to listen. A token is what one asks a new server for first.
const serverStarts = 10 * time.Second

func newTokenCreate(e *env) *cobra.Command {
	var (
		q   api.TokenRequest
		ttl time.Duration
	)
	c := &cobra.Command{
		Use:   "create",
		Short: "Make a join token and print it",
		Long: "Make a join token and print it. It is shown this once: the server keeps only a hash.\n" +
			"A token for a host name lets a machine take the place of the host that has it.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			server, err := e.clientAfter(serverStarts)
			if err != nil {
				return err
			}
			q.TTL = api.Duration(ttl)
			made, err := server.CreateToken(c.Context(), q)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(e.out, made.Text)
			return err
		},
	}
	c.Flags().StringVar(&q.Host, "host", "", "`NAME` of the only host that may join with it")
	c.Flags().DurationVar(&ttl, "ttl", time.Hour, "how `LONG` it is good for")
	c.Flags().IntVar(&q.Uses, "uses", 1, "how `MANY` machines may join with it")
	_ = c.RegisterFlagCompletionFunc("host", e.completeNames("Host"))
	return c
}

func newTokenList(e *env) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "list",
		Short: "Show the join tokens, without their secrets",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(output, "table", "json"); err != nil {
				return err
			}
			server, err := e.client()
			if err != nil {
				return err
			}
			tokens, err := server.Tokens(c.Context())
			if err != nil {
				return err
			}
			if output == "json" {
				return e.printJSON(tokens)
			}
			tokenTable(tokens, time.Now()).print(e.out, e.palette)
			return nil
		},
	}
	outputFlag(c, &output, "table", "json")
	return c
}

func tokenTable(tokens []api.TokenInfo, now time.Time) table {
	t := table{{"ID", "STATE", "FOR", "USES", "EXPIRES", "JOINED"}}
	for _, k := range tokens {
		t.row(k.ID, k.State(now), k.Host, strconv.Itoa(len(k.Used))+"/"+strconv.Itoa(k.Uses),
			k.Expires.Local().Format(time.DateTime), strings.Join(k.Used, ","))
	}
	return t
}

func newTokenRevoke(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "End a join token; hosts that joined with it stay",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := e.client()
			if err != nil {
				return err
			}
			if err := server.RevokeToken(c.Context(), args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.out, "revoked  token %s\n", args[0])
			return err
		},
	}
}
