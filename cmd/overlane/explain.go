package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/model"
	"github.com/spf13/cobra"
)

func newExplain(e *env) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "explain [KIND[.FIELD[.FIELD]...]|drops]",
		Short: "Show what a kind or a field of it means, and which values it takes",
		Long: "Show what a kind of object or a field of it means: type, unit, default, allowed values and an example; with\n" +
			"\"drops\", why the switch drops packets, by the names that overlane status shows.\n" +
			"No server is asked. docs/reference.md and docs/pipeline.md have the same.",
		Example: "  overlane explain subnet\n  overlane explain subnet.dhcp.lease\n" +
			"  overlane explain drops",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeFields,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkOutput(output, "text", "markdown"); err != nil {
				return err
			}
			switch {
			case output == "markdown" && len(args) > 0:
				return usagef("-o markdown shows all kinds: leave %s out", args[0])
			case output == "markdown":
				_, err := fmt.Fprint(e.out, model.Reference())
				return err
			case len(args) == 0:
				e.explainKinds()
				return nil
			case args[0] == "drops":
				e.explainDrops()
				return nil
			}
			return e.explain(args[0])
		},
	}
	outputFlag(c, &output, "text", "markdown")
	return c
}

func (e *env) explainKinds() {
	t := table{{"KIND", "SHORT", "NAME", "MEANING"}}
	for _, k := range model.Kinds {
		t.row(k.Name, k.Plural+", "+k.Short, strings.Join(k.Path, "/"), k.Doc)
	}
	t.print(e.out, e.palette)
}

// explainDrops lists the drops of the switch, and what the agent counts besides.
func (e *env) explainDrops() {
	t := table{{"DROP", "THE PACKET"}}
	for _, d := range slices.Concat(dataplane.Drops, dataplane.OtherDrops) {
		t.row(d.Name, d.Because)
	}
	t.print(e.out, e.palette)
}

// explain explains "subnet" or "subnet.dhcp.lease".
func (e *env) explain(what string) error {
	name, path, nested := strings.Cut(what, ".")
	kind, err := kindNamed(name)
	if err != nil {
		return err
	}
	if nested {
		whole, f, err := kind.Field(path)
		if err != nil {
			return err
		}
		e.explainField(kind.Name+"."+whole, f)
		return nil
	}
	fmt.Fprintf(e.out, "%s (%s, %s), named %s\n%s\n", e.palette.bold(kind.Name), kind.Plural, kind.Short, strings.Join(kind.Path, "/"), kind.Doc)
	for _, half := range kind.Fields() {
		e.explainFields(half.Name+": "+half.Doc, half.Fields)
	}
	if example := kind.Example(); example != "" {
		fmt.Fprintf(e.out, "\nExample:\n%s", indented(example))
	}
	return nil
}

// explainFields prints fields and the fields inside them, a line each and what they mean under it.
func (e *env) explainFields(title string, fields []model.Field) {
	fmt.Fprintf(e.out, "\n%s\n", title)
	var list func(indent string, fields []model.Field)
	list = func(indent string, fields []model.Field) {
		for _, f := range fields {
			fmt.Fprintf(e.out, "%s%s  %s\n", indent, e.palette.bold(f.Name), e.palette.dim(strings.Join(facts(f), "; ")))
			fmt.Fprintf(e.out, "%s    %s\n", indent, f.Doc)
			list(indent+"  ", f.Fields)
		}
	}
	list("  ", fields)
}

// facts are the type and what else a line has room for.
func facts(f model.Field) []string {
	known := []string{f.Type}
	for _, fact := range []struct{ label, value string }{{"in ", f.Unit}, {"", f.Allowed}, {"default: ", f.Default}, {"written by ", f.By}} {
		if fact.value != "" {
			known = append(known, fact.label+fact.value)
		}
	}
	if f.Required {
		known = append(known, "required")
	}
	return known
}

func (e *env) explainField(path string, f model.Field) {
	fmt.Fprintf(e.out, "%s\n%s\n\n", e.palette.bold(path), f.Doc)
	for _, fact := range []struct{ label, value string }{
		{"Type", f.Type}, {"Unit", f.Unit}, {"Allowed", f.Allowed}, {"Default", f.Absent()}, {"Written by", f.By}, {"Example", strings.TrimRight(f.ExampleYAML(), "\n")},
	} {
		if fact.value != "" {
			fmt.Fprintf(e.out, "%-12s%s\n", fact.label+":", strings.ReplaceAll(fact.value, "\n", "\n            "))
		}
	}
	if len(f.Fields) > 0 {
		e.explainFields("Fields:", f.Fields)
	}
}

func indented(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ") + "\n"
}
