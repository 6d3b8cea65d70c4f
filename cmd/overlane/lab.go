package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/overlane/overlane/cmd/internal/program"
	"github.com/overlane/overlane/examples"
	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/article"
	"github.com/spf13/cobra"
)

func newLab(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "lab",
		Short: "Play with hosts that are namespaces of this machine",
		Long: "Bring up hosts that are namespaces of this machine, each with its own Open vSwitch and, where asked, Docker, joined to an\n" +
			"overlane server. The machine's own network, Open vSwitch and Docker are not touched. It needs root.",
		Example: "  overlane lab up -f examples/article.lab.yaml\n  overlane lab exec host1 -- overlane status\n" +
			"  overlane lab exec host1 -- docker exec blue1 ping -c3 172.17.42.10\n  overlane lab down",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usagef("lab wants up, status, exec or down") },
	}
	c.AddCommand(newLabUp(e), newLabStatus(e), newLabExec(e), newLabDown(e))
	return c
}

func newLabUp(e *env) *cobra.Command {
	var (
		file    string
		bare    bool
		verbose bool
	)
	c := &cobra.Command{
		Use:   "up [-f FILE]",
		Short: "Bring up a lab and leave it running",
		Long:  "Bring up a lab and leave it running. Without a file it is the lab of the demonstration.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f, remove, err := labFile(file)
			if err != nil {
				return err
			}
			defer remove()
			began := time.Now()
			l, err := lab.Up(c.Context(), f, lab.Options{Bare: bare, Log: program.Logger(e.err, program.Level(verbose)), Progress: e.steps()})
			if err != nil {
				return err
			}
			fmt.Fprintf(e.out, "lab %s is up after %.1fs. Try:\n\n  overlane lab exec %s -- overlane status\n  overlane lab down\n",
				e.palette.bold(l.File.Name), time.Since(began).Seconds(), l.File.Hosts[0].Name)
			return nil
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "`FILE` that describes the lab")
	c.Flags().BoolVar(&bare, "bare", false, "hosts only: neither server nor agents")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "log more")
	return c
}

// labFile reads the file of a lab; by default the demonstration's, from the binary. Call remove when the lab is up.
func labFile(path string) (f lab.File, remove func(), err error) {
	if path != "" {
		f, err = lab.ReadFile(path)
		return f, func() {}, err
	}
	dir, err := os.MkdirTemp("", "overlane-examples")
	if err != nil {
		return f, nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	f, err = article.File(examples.Files, dir)
	if err != nil {
		remove()
	}
	return f, remove, err
}

// exitStatus ends this program with the exit status of another one, which has printed its own error.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// steps prints each step of a lab as it is done.
func (e *env) steps() func(lab.Step) {
	var mu sync.Mutex
	return func(s lab.Step) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(e.out, "%s %-8s %s %s\n", e.palette.green("✓"), s.Host, s.What, e.palette.dim(fmt.Sprintf("%.2fs", s.Took.Seconds())))
	}
}

// openLabs opens the lab with a name, or all labs.
func openLabs(name string) (labs []*lab.Lab, err error) {
	names := []string{name}
	if name == "" {
		if names, err = lab.List(lab.DefaultDir); err != nil {
			return nil, err
		}
	}
	for _, n := range names {
		l, err := lab.Open(n, lab.Options{})
		if name == "" && errors.Is(err, lab.ErrNotUp) {
			continue // it has gone down since
		} else if err != nil {
			return nil, err
		}
		labs = append(labs, l)
	}
	return labs, nil
}

// labMachine finds a host, or another machine, by its name, if exactly one lab has it.
func labMachine(labs []*lab.Lab, name string) (*lab.Machine, error) {
	var found *lab.Machine
	var all, having []string
	for _, l := range labs {
		all = append(all, l.File.Name)
		if m := l.Machine(name); m != nil {
			found, having = m, append(having, l.File.Name)
		}
	}
	switch {
	case len(having) == 1:
		return found, nil
	case len(having) > 1:
		return nil, usagef("labs %s have a host %s; name one with --lab", strings.Join(having, ", "), name)
	case len(all) == 0:
		return nil, usagef("no lab is up")
	case len(all) == 1:
		return nil, usagef("lab %s has no host %s", all[0], name)
	}
	return nil, usagef("none of the labs %s has a host %s", strings.Join(all, ", "), name)
}

func labFlag(c *cobra.Command, name *string) {
	c.Flags().StringVar(name, "lab", os.Getenv("OVERLANE_LAB"), "`NAME` of the lab ($OVERLANE_LAB); needed only if it could be several")
	_ = c.RegisterFlagCompletionFunc("lab", completeLabs)
}

func completeLabs(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names, _ := lab.List(lab.DefaultDir)
	return names, cobra.ShellCompDirectiveNoFileComp
}

func newLabStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the labs, their hosts and what runs on them",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			names, err := lab.List(lab.DefaultDir)
			if err != nil {
				return err
			}
			t := table{{"LAB", "HOST", "ADDRESS", "UP", "RUNNING", "ENDED"}}
			for _, name := range names {
				l, err := lab.Open(name, lab.Options{})
				if err != nil {
					return err
				}
				labRows(&t, l)
			}
			t.print(e.out, e.palette)
			return nil
		},
	}
}

func labRows(t *table, l *lab.Lab) {
	machines := l.Machines()
	for _, m := range machines {
		var running, ended []string
		for name, d := range m.Daemons() {
			if d.Running() {
				running = append(running, name)
			} else {
				ended = append(ended, name)
			}
		}
		slices.Sort(running)
		slices.Sort(ended)
		t.row(l.File.Name, m.Name, m.Address.String(), yesNo(m.Up()), strings.Join(running, " "), strings.Join(ended, " "))
	}
	if len(machines) == 0 {
		t.row(l.File.Name)
	}
}

func newLabExec(e *env) *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:   "exec HOST -- COMMAND...",
		Short: "Run a command on a host of a lab",
		Long: "Run a command on a host of a lab, its router or a machine outside. docker, ovs-vsctl, overlane and all others find that host's\n" +
			"daemons. It exits as the command does.",
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			labs, err := openLabs(name)
			if err != nil {
				return err
			}
			m, err := labMachine(labs, args[0])
			if err != nil {
				return err
			}
			if args = args[1:]; args[0] == "--" {
				args = args[1:]
			}
			if len(args) == 0 {
				return usagef("lab exec wants a command")
			}
			return e.execOn(c.Context(), m, args)
		},
	}
	c.Flags().SetInterspersed(false) // flags after HOST are the command's
	labFlag(c, &name)
	c.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		var machines []string
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		labs, _ := openLabs(name)
		for _, l := range labs {
			for _, m := range l.Machines() {
				machines = append(machines, m.Name)
			}
		}
		return machines, cobra.ShellCompDirectiveNoFileComp
	}
	return c
}

func (e *env) execOn(ctx context.Context, m *lab.Machine, argv []string) error {
	cmd := m.Command(ctx, argv...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.in, e.out, e.err
	if wd, err := os.Getwd(); err == nil {
		cmd.Dir = wd
	}
	// On a terminal the command gets a process group of its own: a shell in the lab cannot see this program's group,
	// and could not control its jobs.
	if tty, ok := e.in.(*os.File); ok && terminal(tty) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Foreground: true, Ctty: int(tty.Fd())}
	}
	err := m.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if ended := new(exec.ExitError); errors.As(err, &ended) {
		return exitStatus(ended.ExitCode())
	}
	return err
}

func newLabDown(e *env) *cobra.Command {
	var (
		name string
		all  bool
	)
	c := &cobra.Command{
		Use:               "down [NAME] [--all]",
		Short:             "End a lab and leave nothing of it",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeLabs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				name = args[0]
			}
			return e.labDown(c.Context(), name, all)
		},
	}
	labFlag(c, &name)
	c.Flags().BoolVar(&all, "all", false, "every lab of this machine")
	return c
}

func (e *env) labDown(ctx context.Context, name string, all bool) error {
	names, err := lab.List(lab.DefaultDir)
	if err != nil {
		return err
	}
	switch {
	case name != "":
		names = []string{name}
	case len(names) == 0:
		fmt.Fprintln(e.out, "no lab is up")
	case len(names) > 1 && !all:
		return usagef("there are %d labs (%s); name one, or say --all", len(names), strings.Join(names, ", "))
	}
	for _, name := range names {
		if err := downOne(ctx, name); err != nil {
			return err
		}
		fmt.Fprintf(e.out, "lab %s is down\n", e.palette.bold(name))
	}
	return nil
}

// downOne ends a lab. A lab that is not up is no error.
func downOne(ctx context.Context, name string) error {
	l, err := lab.Open(name, lab.Options{})
	if errors.Is(err, lab.ErrNotUp) {
		return nil
	} else if err != nil {
		return err
	}
	return l.Down(ctx)
}
