package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/model"
	"github.com/spf13/cobra"
)

func newGet(e *env) *cobra.Command {
	var (
		output string
		all    bool
	)
	c := &cobra.Command{
		Use:   "get KIND [NAME|PARENT]...",
		Short: "Show objects",
		Long: "Show objects of a kind: all, the ones under a parent, or one by name. With -A, objects of every kind.\n" +
			"The kinds are " + kindNames() + ".",
		Example:           "  overlane get endpoints\n  overlane get endpoints blue/web\n  overlane get subnet blue/web -o yaml",
		ValidArgsFunction: e.completeKindAndNames,
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkOutput(output, "table", "yaml", "json", "name"); err != nil {
				return err
			}
			if all == (len(args) > 0) {
				return usagef("get wants a kind (%s), or -A for all", kindNames())
			}
			return e.get(c.Context(), args, output)
		},
	}
	outputFlag(c, &output, "table", "yaml", "json", "name")
	c.Flags().BoolVarP(&all, "all", "A", false, "objects of every kind")
	return c
}

// kindObjects are objects of one kind.
type kindObjects struct {
	kind    model.Kind
	objects []model.Object
}

func (e *env) get(ctx context.Context, args []string, output string) error {
	sections, err := e.fetch(ctx, args)
	if err != nil {
		return err
	}
	var all []model.Object
	for _, s := range sections {
		all = append(all, s.objects...)
	}
	switch output {
	case "yaml":
		if len(args) == 0 {
			all = slices.DeleteFunc(all, derived)
		}
		return e.printYAML(all)
	case "json":
		if len(args) == 2 && len(all) == 1 && all[0].Name == args[1] {
			return e.printJSON(all[0])
		}
		return e.printJSON(map[string]any{"items": slices.Concat([]model.Object{}, all)})
	case "name":
		for _, o := range all {
			fmt.Fprintln(e.out, o.Name)
		}
		return nil
	}
	e.printTables(sections)
	return nil
}

// derived reports whether Overlane made an object as a consequence of others; such an object cannot be applied.
func derived(o model.Object) bool {
	kind, _ := model.KindByName(o.Kind)
	return kind.Derived
}

func (e *env) fetch(ctx context.Context, args []string) ([]kindObjects, error) {
	c, err := e.client()
	if err != nil {
		return nil, err
	}
	if len(args) == 0 {
		return fetchAll(ctx, c)
	}
	kind, err := kindNamed(args[0])
	if err != nil {
		return nil, err
	}
	s := kindObjects{kind: kind}
	if len(args) == 1 {
		args = append(args, "")
	}
	for _, name := range args[1:] {
		found, err := fetchNamed(ctx, c, kind, name)
		if err != nil {
			return nil, err
		}
		s.objects = append(s.objects, found...)
	}
	return []kindObjects{s}, nil
}

func fetchAll(ctx context.Context, c *client.Client) ([]kindObjects, error) {
	var sections []kindObjects
	for _, kind := range model.Kinds {
		list, err := c.List(ctx, kind.Name, "")
		if err != nil {
			return nil, err
		}
		sections = append(sections, kindObjects{kind, list.Items})
	}
	return sections, nil
}

// fetchNamed is one object if the name has as many parts as the kind's names, and the objects below the name if it has
// fewer.
func fetchNamed(ctx context.Context, c *client.Client, kind model.Kind, name string) ([]model.Object, error) {
	if name == "" || strings.Count(name, "/")+1 < len(kind.Path) {
		list, err := c.List(ctx, kind.Name, name)
		return list.Items, err
	}
	o, err := c.Get(ctx, model.Key{Kind: kind.Name, Name: name})
	return []model.Object{o}, err
}

func kindNamed(name string) (model.Kind, error) {
	kind, ok := model.KindByName(name)
	if !ok {
		return kind, usagef("%q is not a kind; there are %s", name, kindNames())
	}
	return kind, nil
}

func kindNames() string {
	var names []string
	for _, k := range model.Kinds {
		names = append(names, k.Plural)
	}
	return strings.Join(names, ", ")
}

// printTables prints a table for each kind that has objects.
func (e *env) printTables(sections []kindObjects) {
	sections = slices.DeleteFunc(sections, func(s kindObjects) bool { return len(s.objects) == 0 })
	if len(sections) == 0 {
		fmt.Fprintln(e.err, "overlane: nothing there")
	}
	for i, s := range sections {
		if i > 0 {
			fmt.Fprintln(e.out)
		}
		objectTable(s.kind, s.objects).print(e.out, e.palette)
	}
}

func objectTable(kind model.Kind, objects []model.Object) table {
	var (
		t       table
		headers []string
	)
	for _, column := range kind.Columns {
		headers = append(headers, column.Header)
	}
	t.row(headers...)
	for _, o := range objects {
		var cells []string
		for _, column := range kind.Columns {
			cells = append(cells, column.Value(o))
		}
		t.row(cells...)
	}
	return t
}

func outputFlag(c *cobra.Command, output *string, forms ...string) {
	c.Flags().StringVarP(output, "output", "o", forms[0], "`FORM` of the output: "+strings.Join(forms, ", "))
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(forms, cobra.ShellCompDirectiveNoFileComp))
}

func checkOutput(given string, forms ...string) error {
	if !slices.Contains(forms, given) {
		return usagef("-o %s: there are %s", given, strings.Join(forms, ", "))
	}
	return nil
}

func (e *env) printJSON(value any) error {
	encoder := json.NewEncoder(e.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

func (e *env) printYAML(objects []model.Object) error {
	text, err := model.EncodeYAML(objects...)
	if err != nil {
		return err
	}
	_, err = e.out.Write(text)
	return err
}
