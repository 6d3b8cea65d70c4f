package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/article"
	"github.com/spf13/cobra"
)

func newDemo(e *env) *cobra.Command {
	var (
		keep bool
		act  int
	)
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show it all: two tenants with the same addresses, the internet, and gateways that die",
		Long: "Bring up a lab of two hosts with Open vSwitch and Docker, give two tenants the same addresses, and check that packets go where\n" +
			"they must and nowhere else. Then bring up another one with gateways, edges and an internet, and kill a gateway and an edge while\n" +
			"connections run over them. It exits with 0 only if everything held, and leaves nothing behind.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if act < 0 || act > 2 {
				return usagef("--act %d: there are two; leave it out for both", act)
			}
			return e.demo(c.Context(), keep, act)
		},
	}
	c.Flags().IntVar(&act, "act", 0, "show act `N` only, 1 or 2")
	c.Flags().BoolVar(&keep, "keep", false, "leave the lab running, to play with")
	return c
}

const demoPicture = `
   host1  192.168.5.2                        host2  192.168.5.3
   ┌──────────────────────────────┐          ┌──────────────────────────────┐
   │ blue1 172.17.42.2   blue2 .3 │  VNI 100 │ blue3 172.17.42.10 blue4 .20 │
   │ red1  172.17.42.2   red2  .3 │  VNI 200 │ red3  172.17.42.10           │
   └──────────────┬───────────────┘          └──────────────┬───────────────┘
                  └──────────── VXLAN over IPv4 ────────────┘
                                       │
                        router  192.168.5.1, 198.51.100.1
                                       │
                             server, client  outside
`

// demo shows the acts, and ends their labs whatever happens.
func (e *env) demo(ctx context.Context, keep bool, act int) error {
	var (
		results []checkResult
		began   = time.Now()
	)
	for i, show := range []func(context.Context) ([]checkResult, error){
		func(ctx context.Context) ([]checkResult, error) { return e.articleAct(ctx, keep) },
		e.internetAct,
	} {
		if act != 0 && act != i+1 || ctx.Err() != nil {
			continue
		}
		shown, err := show(ctx)
		if err != nil {
			return interrupted(ctx, err)
		}
		results = append(results, shown...)
	}
	if ctx.Err() != nil {
		return interrupted(ctx, nil)
	}
	return e.verdict(results, time.Since(began))
}

// articleAct is the first one: what the article builds. Should even this program be killed, the hosts die with it.
func (e *env) articleAct(ctx context.Context, keep bool) ([]checkResult, error) {
	began := time.Now()
	f, remove, err := labFile("")
	if err != nil {
		return nil, err
	}
	defer remove()
	f.Name = "demo"
	if err := e.clear(ctx, f.Name); err != nil {
		return nil, err
	}
	e.headline("Two hosts, two tenants, the same addresses")
	fmt.Fprintln(e.out, e.palette.dim(demoPicture))
	l, err := lab.Up(ctx, f, lab.Options{Tied: !keep, Progress: e.steps()})
	if err != nil {
		return nil, err
	}
	results := e.runChecks(ctx, article.Checks(l), began)
	if keep {
		fmt.Fprintf(e.out, "\nThe lab runs on. overlane lab exec host1 -- overlane status; overlane lab down %s\n", f.Name)
	} else {
		results = append(results, e.endDemo(context.WithoutCancel(ctx), l))
	}
	return results, nil
}

// clear removes what a demonstration or drill that was killed has left, but not one that runs.
func (e *env) clear(ctx context.Context, name string) error {
	left, err := lab.Open(name, lab.Options{})
	if err != nil {
		return nil // there is none
	}
	if !left.Abandoned() {
		return fmt.Errorf("a %s is running; wait for it, or end it with: overlane lab down %s", name, name)
	}
	return left.Down(ctx)
}

// interrupted is the exit status of a shell's Ctrl-C, if that is what ended it.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return exitStatus(130)
	}
	return err
}

func (e *env) headline(text string) { fmt.Fprintf(e.out, "\n%s\n", e.palette.bold(text)) }

// checkResult is a row of the table at the end.
type checkResult struct {
	name string
	err  error
	took time.Duration
}

// runChecks runs them one after the other, and shows the evidence of each.
func (e *env) runChecks(ctx context.Context, checks []article.Check, began time.Time) (results []checkResult) {
	for i, c := range checks {
		if ctx.Err() != nil {
			return results
		}
		e.headline(fmt.Sprintf("%d. %s", i+1, c.Name))
		var (
			evidence article.Evidence
			start    = time.Now()
			err      = c.Run(ctx, &evidence)
		)
		e.show(evidence)
		results = append(results, checkResult{c.Name, err, time.Since(start)})
		if err != nil {
			fmt.Fprintf(e.out, "  %s %s\n", e.palette.red("✗"), strings.ReplaceAll(err.Error(), "\n", "\n    "))
		} else {
			fmt.Fprintf(e.out, "  %s %s\n", e.palette.green("✓"), c.Name)
		}
		if i == 0 && err == nil && !began.IsZero() {
			fmt.Fprintf(e.out, "    the first echo was back %.1fs after the start of all\n", evidence.Lines[0].Ended.Sub(began).Seconds())
		}
	}
	return results
}

func (e *env) show(evidence article.Evidence) {
	for _, l := range evidence.Lines {
		if l.Command != "" {
			fmt.Fprintf(e.out, "  %s %s\n", e.palette.cyan(l.Host+"#"), e.palette.bold(l.Command))
		} else {
			fmt.Fprintf(e.out, "  %s\n", l.Text)
		}
	}
}

// endDemo takes the lab down, which is the last thing to check.
func (e *env) endDemo(ctx context.Context, l *lab.Lab) checkResult {
	e.headline("Cleaning up")
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	start := time.Now()
	err := l.Down(ctx)
	return checkResult{"nothing is left behind", err, time.Since(start)}
}

// verdict prints the table and one sentence, "17 of 17 held in 47 s", and fails if anything did not hold.
func (e *env) verdict(results []checkResult, took time.Duration) error {
	e.headline("What was checked")
	t := table{{"HELD", "CHECK", "TOOK"}}
	held := 0
	for _, r := range results {
		if r.err == nil {
			held++
		}
		t.row(yesNo(r.err == nil), r.name, fmt.Sprintf("%.1fs", r.took.Seconds()))
	}
	t.print(e.out, e.palette)
	sentence := fmt.Sprintf("%d of %d held in %.0f s", held, len(results), took.Seconds())
	if held < len(results) {
		fmt.Fprintf(e.out, "\n%s\n", e.palette.red(sentence))
		return errors.Join(errors.New(sentence), errSilent)
	}
	fmt.Fprintf(e.out, "\n%s\n\nTry next:\n", e.palette.green(sentence))
	program := os.Args[0] // make demo runs bin/overlane
	for _, next := range []struct{ what, why string }{
		{program + " demo --act 1 --keep", "the first two hosts stay, to play with: docs/lab.md"},
		{program + " drill gateway", "kill a gateway under load, and see what is lost: docs/drill.md"},
		{"README.md", "the same on two machines of yours"},
	} {
		fmt.Fprintf(e.out, "  %-34s %s\n", next.what, next.why)
	}
	return nil
}
