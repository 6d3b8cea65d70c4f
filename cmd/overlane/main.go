// Command overlane is the whole product: server, agent, and the tools to drive them. It parses arguments, wires the parts and
// prints; it decides nothing.
//
// It exits with 0 if all went well, 1 if something was refused or failed, and 2 if it was called wrongly. Errors go to the
// standard error, each on a line of its own that starts with "overlane: ".
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// commands is every command, in the order of "overlane help". A new one is a file with a constructor, and a line here.
var commands = []command{
	{intentGroup, newApply},
	{intentGroup, newPlan},
	{intentGroup, newGet},
	{intentGroup, newDelete},
	{intentGroup, newWatch},
	{intentGroup, newExplain},
	{hostGroup, newAttach},
	{hostGroup, newDetach},
	{seeGroup, newStatus},
	{seeGroup, newCapture},
	{machineGroup, newServer},
	{machineGroup, newAgent},
	{machineGroup, newToken},
	{machineGroup, newJoin},
	{machineGroup, newHost},
	{otherGroup, newDemo},
	{otherGroup, newLab},
	{otherGroup, newDrill},
	{otherGroup, newVersion},
}

// command is one entry of the table.
type command struct {
	group string
	new   func(*env) *cobra.Command
}

// The groups that help shows.
const (
	intentGroup  = "What you want:"
	hostGroup    = "This host:"
	machineGroup = "Machines:"
	seeGroup     = "What was measured:"
	otherGroup   = "Other:"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run runs one command line, and gives the exit status. A first signal ends the command in order; a second one at once.
func run(args []string, in io.Reader, out, problems io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	defer stop()
	e := newEnv(in, out, problems)
	root := newRoot(e)
	root.SetArgs(args)
	return e.finish(root.ExecuteContext(ctx))
}

func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "overlane",
		Short: "A VPC for the machines you already have",
		Long: "Overlane gives containers and network namespaces on plain Linux hosts the isolation of a cloud VPC,\n" +
			"on Open vSwitch and plain VXLAN.\n\n" +
			"It exits with 0 if all went well, 1 if something was refused or failed, 2 if it was called wrongly.",
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRun:  func(*cobra.Command, []string) { e.parsed = true },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.SetIn(e.in)
	root.SetOut(e.out)
	root.SetErr(e.err)
	root.PersistentFlags().StringVar(&e.server, "server", e.server, "`ADDRESS` of the server: unix:///PATH or https://HOST:7443 ($OVERLANE_SERVER)")
	for _, group := range []string{intentGroup, hostGroup, seeGroup, machineGroup, otherGroup} {
		root.AddGroup(&cobra.Group{ID: group, Title: group})
	}
	root.SetHelpCommandGroupID(otherGroup)
	root.SetCompletionCommandGroupID(otherGroup)
	for _, c := range commands {
		made := c.new(e)
		made.GroupID = c.group
		root.AddCommand(made)
	}
	return root
}
