package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/overlane/overlane/cmd/internal/program"
	"github.com/overlane/overlane/examples"
	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/drill"
	"github.com/spf13/cobra"
)

func newDrill(e *env) *cobra.Command {
	var (
		o       drill.Options
		name    string
		designs []string
		bfd     time.Duration
		asJSON  bool
	)
	c := &cobra.Command{
		Use:   "drill KIND",
		Short: "Kill something while connections run over it, and measure what they lose",
		Long: "Kill a part of a lab while connections from inside and outside run over it, show what they lose, and mend it again. Without --lab it\n" +
			"brings up a lab of its own, of examples/internet.lab.yaml. It exits with 0 only if everything worked before and works again at the\n" +
			"end; what was lost meanwhile is measured, not judged.\n\n" + drillKinds(),
		Example: "  overlane drill gateway\n  overlane drill gateway --how power\n  overlane drill agent --design snat,central",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if o.Kind, err = drill.KindNamed(args[0]); err != nil {
				return program.UsageError{Err: err}
			}
			if len(designs) == 0 {
				designs = o.Kind.Designs
			}
			for _, design := range designs {
				o.Design = design
				if err := o.Check(); err != nil {
					return program.UsageError{Err: err}
				}
			}
			if bfd != 0 && name != "" {
				return usagef("--bfd-interval is for the drill's own lab; in the file of lab %s, write agent: {bfdInterval: %s}", name, bfd)
			}
			return e.drill(c.Context(), drillLab{name, bfd}, o, designs, asJSON)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
			for _, k := range drill.Kinds {
				names = append(names, k.Name+"\t"+k.Short)
			}
			return names[:len(names)*(1-min(len(args), 1))], cobra.ShellCompDirectiveNoFileComp
		},
	}
	labFlag(c, &name)
	c.Flags().Lookup("lab").Usage = "`NAME` of a lab that is up ($OVERLANE_LAB); without, the drill has its own"
	c.Flags().StringSliceVar(&designs, "design", nil, "`DESIGN`s of internet gateways to do it in, one after another: "+strings.Join(drill.Designs, ", ")+"; default: all that it is for")
	c.Flags().StringVar(&o.Mode, "how", "", "`HOW` a gateway or edge dies: process (its Open vSwitch and agent), link (its cables) or power; default process")
	c.Flags().DurationVar(&o.Phase, "for", 8*time.Second, "`TIME` to measure after the failure, and again after its end")
	c.Flags().DurationVar(&bfd, "bfd-interval", 0, "`TIME` between the packets by which hosts watch each other, in the drill's own lab; default: the agents'")
	c.Flags().BoolVar(&asJSON, "json", false, "print figures as JSON, and no picture")
	_ = c.RegisterFlagCompletionFunc("design", cobra.FixedCompletions(drill.Designs, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("how", cobra.FixedCompletions([]string{drill.Process, drill.Link, drill.Power}, cobra.ShellCompDirectiveNoFileComp))
	c.AddCommand(newDrillPeer(e))
	return c
}

func drillKinds() string {
	var b strings.Builder
	for _, k := range drill.Kinds {
		fmt.Fprintf(&b, "  %-9s %s (%s)\n", k.Name, k.Short, strings.Join(k.Designs, ", "))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// drill does a drill in one design after the other. A failure in one does not end the others.
func (e *env) drill(ctx context.Context, in drillLab, o drill.Options, designs []string, asJSON bool) (err error) {
	l, down, err := e.drillLab(ctx, in, asJSON)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() {
		if failed := down(); err == nil {
			err = failed
		}
	}()
	var results []drill.Result
	for _, design := range designs {
		o.Design = design
		if !asJSON {
			e.headline(fmt.Sprintf("Drill %s, design %s", o.Kind.Name, design))
			o.Watch = e.drillLine
		}
		r, err := drill.Run(ctx, l, o)
		if err != nil {
			return interrupted(ctx, fmt.Errorf("drill %s, design %s: %w", o.Kind.Name, design, err))
		}
		if len(r.Moments) > 0 && !asJSON {
			e.drillPicture(r.Moments)
		}
		results = append(results, r)
	}
	if asJSON {
		if err := e.printJSON(results); err != nil {
			return err
		}
	} else {
		e.headline("What was lost")
		drillTable(results).print(e.out, e.palette)
		for _, r := range results {
			if r.Alarms != nil {
				fmt.Fprintf(e.out, "\n%s, %s: of %d ends of watched tunnels, one took its tunnel for dead %d times\n", r.Drill, r.Design, r.Alarms.Ends, r.Alarms.Deaths)
			}
		}
	}
	return e.judgeDrills(results)
}

func (e *env) judgeDrills(results []drill.Result) (err error) {
	for _, r := range results {
		if failed := r.Check(); failed != nil {
			e.complain(failed.Error())
			err = errSilent
		}
	}
	return err
}

// drillName is the name of the lab that a drill brings up itself.
const drillName = "drill"

// drillLab is the lab of a drill.
type drillLab struct {
	name string        // empty: the drill's own
	bfd  time.Duration // BFD interval of its agents; 0: their default
}

// drillLab is a lab that is up already, or a new one that ends with this process.
func (e *env) drillLab(ctx context.Context, in drillLab, quiet bool) (l *lab.Lab, down func() error, err error) {
	if in.name != "" {
		l, err = lab.Open(in.name, lab.Options{})
		return l, func() error { return nil }, err
	}
	if err := e.clear(ctx, drillName); err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "overlane-examples")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	f, err := drill.File(examples.Files, dir)
	if err != nil {
		return nil, nil, err
	}
	f.Name = drillName
	if in.bfd != 0 {
		f.Agent = map[string]any{"bfdInterval": in.bfd.String()}
	}
	began := time.Now()
	if l, err = lab.Up(ctx, f, lab.Options{Tied: true}); err != nil {
		return nil, nil, err
	}
	if !quiet {
		fmt.Fprintf(e.out, "%s a lab of %d hosts, with a router and machines outside %s\n", e.palette.green("✓"), len(f.Hosts), e.palette.dim(fmt.Sprintf("%.1fs", time.Since(began).Seconds())))
	}
	return l, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return l.Down(ctx)
	}, nil
}

// barWidth is the width of a transfer's bar at its full rate.
const barWidth = 16

// drillLine prints a moment, after the actions of that moment.
func (e *env) drillLine(m drill.Moment) {
	for _, mark := range m.Marks {
		paint := e.palette.green
		if mark.Bad {
			paint = e.palette.red
		}
		fmt.Fprintln(e.out, paint(fmt.Sprintf("%6.2fs ── %s ──", mark.At.Seconds(), mark.What)))
	}
	line := fmt.Sprintf("%6.2fs", m.At.Seconds())
	for _, d := range []struct {
		name string
		tick *drill.Tick
	}{{"in", m.In}, {"out", m.Out}} {
		if d.tick == nil {
			continue
		}
		bar, pad := drill.Bar(d.tick.Share(), barWidth)
		line += fmt.Sprintf("  %s %s%s %5.1f Mb/s %s", d.name, e.palette.cyan(bar), pad, d.tick.Mbps(), e.lostCell(d.tick.Lost))
	}
	fmt.Fprintln(e.out, strings.TrimRight(line, " "))
}

// lostCell has the same width for every number.
func (e *env) lostCell(lost int) string {
	if lost == 0 {
		return strings.Repeat(" ", 8)
	}
	return e.palette.red(fmt.Sprintf("lost %-3d", lost))
}

// drillPicture is each direction as one line: heights are the transfer's rate, and × is where probes were lost.
func (e *env) drillPicture(moments []drill.Moment) {
	var in, out []drill.Tick
	for _, m := range moments {
		if m.In != nil {
			in = append(in, *m.In)
		}
		out = append(out, *m.Out)
	}
	fmt.Fprintln(e.out)
	for _, d := range []struct {
		name  string
		ticks []drill.Tick
	}{{"in", in}, {"out", out}} {
		if len(d.ticks) == 0 {
			continue
		}
		rate, lost := drill.Sparkline(d.ticks)
		fmt.Fprintf(e.out, "  %-3s %s\n", d.name, e.palette.cyan(rate))
		if lost = strings.TrimRight(lost, " "); lost != "" {
			fmt.Fprintf(e.out, "      %s\n", e.palette.red(lost))
		}
	}
	if marks := drill.Marks(moments); marks != "" {
		fmt.Fprintf(e.out, "      %s\n", e.palette.dim(marks))
	}
}

func drillTable(results []drill.Result) table {
	t := table{{"DRILL", "DESIGN", "PHASE", "LOST IN", "LOST OUT", "GAP MS", "TCP KEPT", "STALL MS"}}
	for _, r := range results {
		if r.NotWorking != "" {
			t.row(r.Drill, r.Design, "not working: "+r.NotWorking)
		}
		for _, p := range r.Phases {
			both := p.Both()
			t.row(r.Drill, r.Design, p.What, lostOf(p.In), lostOf(p.Out), fmt.Sprint(both.GapMS), fmt.Sprintf("%d of %d", both.Kept, both.Connections), fmt.Sprint(both.StallMS))
		}
	}
	return t
}

func lostOf(f *drill.Figures) string {
	if f == nil {
		return ""
	}
	text := fmt.Sprintf("%d of %d", f.Lost, f.Sent)
	if f.Duplicates > 0 {
		text += fmt.Sprintf(", %d twice", f.Duplicates)
	}
	return text
}

// newDrillPeer is the hidden command that a drill runs on the machines of its lab.
func newDrillPeer(e *env) *cobra.Command {
	var (
		from        uint16
		connections int
	)
	c := &cobra.Command{
		Use:    "peer answer PORT | probe ADDRESS:PORT | talk ADDRESS:PORT | flood ADDRESS:PORT",
		Short:  "Load a path of a lab, and report as JSON, until the standard input ends",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := context.WithCancel(c.Context())
			defer stop()
			go func() {
				_, _ = io.Copy(io.Discard, bufio.NewReader(e.in))
				stop()
			}()
			if args[0] == "answer" {
				port, err := strconv.ParseUint(args[1], 10, 16)
				if err != nil {
					return program.UsageError{Err: err}
				}
				return drill.Answer(ctx, uint16(port), e.out)
			}
			to, err := netip.ParseAddrPort(args[1])
			if err != nil {
				return program.UsageError{Err: err}
			}
			switch args[0] {
			case "probe":
				return drill.Probe(ctx, from, to, e.out)
			case "talk":
				return drill.Talk(ctx, to, connections, e.out)
			case "flood":
				return drill.Flood(ctx, to, connections)
			}
			return usagef("a peer does answer, probe, talk or flood, not %q", args[0])
		},
	}
	c.Flags().Uint16Var(&from, "from", 0, "`PORT` that probes come from")
	c.Flags().IntVar(&connections, "connections", 0, "`NUMBER` of connections to keep")
	return c
}
