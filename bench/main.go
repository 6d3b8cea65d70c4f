// Command bench measures Overlane side by side with its peers, in turns: the article's shell script, plain Open
// vSwitch, the kernel's VXLAN with a Linux bridge, OVN. It prints one line for each figure and judges no run by its
// timing: a goal that is missed is reported as missed. Everything happens in labs of its own; it never touches the
// machine's network.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// figures are in the order in which they run: the later ones need a network of 5,000 endpoints, the earlier ones an
// empty one.
var figures = []struct {
	name    string
	measure func(context.Context, *world) error
}{
	{"attach", measureAttach},
	{"first-ping", measureFirstPing},
	{"traffic", measureTraffic},
	{"snat", measureSNAT},
	{"internet", measureInternet},
	{"ovn", measureOVN},
	{"public", measurePublic},
	{"scale", measureScale},
	{"idle", measureIdle},
	{"restart", measureRestart},
}

func main() {
	if role := os.Getenv(roleVariable); role != "" {
		exit(play(role))
	}
	only := flag.String("only", "", "`NAMES` of the figures to measure, separated by commas: "+strings.Join(names(), ", "))
	file := flag.String("json", "", "write the results to `FILE` too, as JSON lines")
	binary := flag.String("overlane", "bin/overlane", "`PATH` of the overlane binary")
	border := flag.String("border", "", "gateway1 or host1: `HOST` is the one border host of both designs in the internet figures, where there would be two of each; for a slow machine")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *only, *file, *binary, *border)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func names() []string {
	var all []string
	for _, f := range figures {
		all = append(all, f.name)
	}
	return all
}

// run measures the figures. A figure that fails does not prevent the others.
func run(ctx context.Context, only, file, binary, border string) error {
	chosen := names()
	if only != "" {
		chosen = strings.Split(only, ",")
	}
	for _, name := range chosen {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("no figure is called %q; there are %s", name, strings.Join(names(), ", "))
		}
	}
	r := reporter{lines: os.Stdout, json: io.Discard}
	if file != "" {
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		defer f.Close()
		r.json = f
	}
	w, err := newWorld(ctx, binary, r)
	if err != nil {
		return err
	}
	w.border = border
	err = w.measure(ctx, chosen)
	return errors.Join(err, w.close())
}

func (w *world) measure(ctx context.Context, chosen []string) error {
	var broken []error
	for _, f := range figures {
		if !slices.Contains(chosen, f.name) || ctx.Err() != nil {
			continue
		}
		began := time.Now()
		if err := f.measure(ctx, w); err != nil {
			broken = append(broken, fmt.Errorf("%s: %w", f.name, err))
		}
		fmt.Fprintf(os.Stderr, "bench: %s took %.0f s\n", f.name, time.Since(began).Seconds())
	}
	return errors.Join(broken...)
}
