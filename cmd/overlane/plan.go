package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/spf13/cobra"
)

func newPlan(e *env) *cobra.Command {
	var (
		files  []string
		flows  bool
		output string
	)
	c := &cobra.Command{
		Use:   "plan -f FILE|DIR|-",
		Short: "Show what apply would change: fields of objects, flows on hosts, and public traffic that it disturbs",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(output, "text", "json"); err != nil {
				return err
			}
			applied, err := e.apply(c.Context(), files, api.Apply{DryRun: true, Flows: true})
			if err != nil {
				return err
			}
			if output == "json" {
				return e.printJSON(applied)
			}
			e.printPlan(applied, flows)
			return nil
		},
	}
	fileFlag(c, &files)
	c.Flags().BoolVar(&flows, "flows", false, "show each flow, not only how many")
	outputFlag(c, &output, "text", "json")
	return c
}

func (e *env) printPlan(a api.Applied, flows bool) {
	counts := map[model.Action]int{}
	for _, c := range a.Changes {
		if counts[c.Action]++; c.Action != model.None {
			e.printDiff(c)
		}
	}
	for _, h := range a.Flows {
		e.printFlows(h, flows)
	}
	for _, what := range a.Disturbs {
		fmt.Fprintln(e.out, e.palette.yellow("disturbs"), what)
	}
	fmt.Fprintf(e.out, "%d to create, %d to update, %d to delete, %d unchanged\n",
		counts[model.Create], counts[model.Update], counts[model.Delete], counts[model.None])
}

// signs stand in front of added, changed and removed objects.
var signs = map[model.Action]string{model.Create: "+", model.Update: "~", model.Delete: "-"}

// printDiff prints an object that changes, and its fields that change.
func (e *env) printDiff(c api.Change) {
	fmt.Fprintln(e.out, e.palette.action(c.Action, fmt.Sprintf("%s %s %s", signs[c.Action], c.Kind, c.Name)))
	before, after := fields(c.Before), fields(c.After)
	for _, name := range slices.Sorted(maps.Keys(union(before, after))) {
		was, is := before[name], after[name]
		switch {
		case was == is || c.Action == model.Delete:
		case was == "":
			fmt.Fprintf(e.out, "    %s: %s\n", name, e.palette.green(is))
		case is == "":
			fmt.Fprintf(e.out, "    %s: %s -> (none)\n", name, e.palette.red(was))
		default:
			fmt.Fprintf(e.out, "    %s: %s -> %s\n", name, e.palette.red(was), e.palette.green(is))
		}
	}
}

// printFlows prints how a host's switch would change.
func (e *env) printFlows(h api.HostFlows, each bool) {
	fmt.Fprintf(e.out, "%s %s: %s, %s\n", e.palette.bold("flows on"), h.Host,
		e.palette.green(fmt.Sprintf("+%d", len(h.Add))), e.palette.red(fmt.Sprintf("-%d", len(h.Delete))))
	if !each {
		return
	}
	for _, f := range h.Delete {
		fmt.Fprintln(e.out, e.palette.red("  - "+f))
	}
	for _, f := range h.Add {
		fmt.Fprintln(e.out, e.palette.green("  + "+f))
	}
}

// fields are an object's spec as names and values: "attachment.netns" -> "/run/netns/a".
func fields(o *model.Object) map[string]string {
	found := map[string]string{}
	if o == nil {
		return found
	}
	text, err := json.Marshal(o.Spec)
	var spec map[string]any
	if err == nil {
		err = json.Unmarshal(text, &spec)
	}
	if err != nil {
		panic(fmt.Sprintf("the spec of %s is no JSON object: %v", o.Key(), err))
	}
	flatten(found, "", spec)
	return found
}

func flatten(into map[string]string, name string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			flatten(into, strings.TrimPrefix(name+"."+key, "."), inner)
		}
	case string:
		into[name] = v
	case float64:
		into[name] = fmt.Sprintf("%.0f", v)
	default:
		text, _ := json.Marshal(v) // it came from JSON
		into[name] = string(text)
	}
}

func union(a, b map[string]string) map[string]string {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return both
}
