package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/overlane/overlane/model"
	"github.com/spf13/cobra"
)

// completionTime is how long a shell waits for names. Without a server there are none, and no message.
const completionTime = 500 * time.Millisecond

// completeKindAndNames completes KIND NAME...
func (e *env) completeKindAndNames(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		var kinds []string
		for _, k := range model.Kinds {
			kinds = append(kinds, cobra.CompletionWithDesc(k.Plural, k.Doc))
		}
		return kinds, cobra.ShellCompDirectiveNoFileComp
	}
	names := slices.DeleteFunc(e.names(c.Context(), args[0]), func(name string) bool { return slices.Contains(args[1:], name) })
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeNames completes NAME... of one kind.
func (e *env) completeNames(kind string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		return e.completeKindAndNames(c, append([]string{kind}, args...), typed)
	}
}

func (e *env) names(ctx context.Context, kind string) []string {
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	c, err := e.client()
	if err != nil {
		return nil
	}
	list, err := c.List(ctx, kind, "")
	if err != nil {
		return nil
	}
	var names []string
	for _, o := range list.Items {
		names = append(names, o.Name)
	}
	return names
}

// completeFields completes KIND.FIELD, a part at a time.
func completeFields(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	const stay = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var found []string
	name, path, nested := strings.Cut(typed, ".")
	if !nested {
		for _, k := range model.Kinds {
			found = append(found, cobra.CompletionWithDesc(strings.ToLower(k.Name), k.Doc))
		}
		found = append(found, cobra.CompletionWithDesc("drops", "Why the switch drops packets."))
		return found, stay
	}
	kind, ok := model.KindByName(name)
	if !ok {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	fields, prefix := kind.Fields()[0].Fields, ""
	if cut := strings.LastIndexByte(path, '.'); cut >= 0 {
		_, f, err := kind.Field(path[:cut])
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		fields, prefix = f.Fields, path[:cut+1]
	}
	for _, f := range fields {
		found = append(found, cobra.CompletionWithDesc(name+"."+prefix+f.Name, f.Doc))
	}
	return found, stay
}
