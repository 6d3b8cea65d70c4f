package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/spf13/cobra"
)

func newApply(e *env) *cobra.Command {
	var (
		files  []string
		dryRun bool
	)
	c := &cobra.Command{
		Use:   "apply -f FILE|DIR|-",
		Short: "Create and update objects: all of them, or none",
		Example: "  overlane apply -f network.yaml\n" +
			"  overlane apply -f vpcs/ -f hosts.yaml --dry-run",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			applied, err := e.apply(c.Context(), files, api.Apply{DryRun: dryRun})
			if err != nil {
				return err
			}
			e.printChanges(applied.Changes, dryRun)
			return nil
		},
	}
	fileFlag(c, &files)
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would change")
	return c
}

// fileFlag adds the flag -f.
func fileFlag(c *cobra.Command, files *[]string) {
	c.Flags().StringArrayVarP(files, "file", "f", nil, "`FILE` or folder of objects in YAML or JSON; - is the standard input; may be repeated")
	_ = c.MarkFlagFilename("file", "yaml", "yml", "json")
}

// apply sends the objects of files along with a.
func (e *env) apply(ctx context.Context, files []string, a api.Apply) (api.Applied, error) {
	objects, err := intentFiles(files).read(e)
	if err != nil {
		return api.Applied{}, err
	}
	a.Objects = client.Objects(objects...)
	c, err := e.client()
	if err != nil {
		return api.Applied{}, err
	}
	return c.Apply(ctx, a)
}

// done has the words for changes that were made, and would the words for changes of a plan.
var (
	done  = map[model.Action]string{model.Create: "created", model.Update: "updated", model.Delete: "deleted", model.None: "unchanged"}
	would = map[model.Action]string{model.Create: "would create", model.Update: "would update", model.Delete: "would delete", model.None: "unchanged"}
)

// printChanges prints one line for each object.
func (e *env) printChanges(changes []api.Change, dryRun bool) {
	words, width := done, len("unchanged")
	if dryRun {
		words, width = would, len("would create")
	}
	for _, c := range changes {
		word := fmt.Sprintf("%-*s", width, cmp.Or(words[c.Action], string(c.Action)))
		fmt.Fprintf(e.out, "%s  %s %s%s\n", e.palette.action(c.Action, word), c.Kind, c.Name, e.palette.dim(chosen(c)))
	}
}

// chosen are the values that Overlane chose for a new endpoint, subnet or public IP.
func chosen(c api.Change) string {
	if c.Action != model.Create || c.After == nil {
		return ""
	}
	var parts []string
	switch spec := c.After.Spec.(type) {
	case *model.SubnetSpec:
		parts = []string{"VNI " + fmt.Sprint(spec.VNI), "gateway " + spec.Gateway.String()}
	case *model.EndpointSpec:
		parts = []string{spec.Address.String(), spec.MAC.String()}
	case *model.PublicIPSpec:
		parts = []string{spec.Address.String()}
	default:
		return ""
	}
	return "  " + strings.Join(parts, ", ")
}
