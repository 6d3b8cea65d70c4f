package program

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Of is the name of the program that runs a command: overlane-server for overlane server.
func Of(c *cobra.Command) string { return "overlane-" + c.Name() }

// Run runs a command that is a program of its own, and gives the exit status. A first signal ends it in order; a second one at once.
func Run(c *cobra.Command, args []string, out, problems io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	defer stop()
	parsed := false
	c.PersistentPreRun = func(*cobra.Command, []string) { parsed = true }
	c.Use, c.Version = Of(c), Version()
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetOut(out)
	c.SetErr(problems)
	c.SetArgs(args)
	return Finish(problems, parsed, c.ExecuteContext(ctx))
}
