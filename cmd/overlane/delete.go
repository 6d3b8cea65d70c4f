package main

import (
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/spf13/cobra"
)

func newDelete(e *env) *cobra.Command {
	var (
		files  []string
		dryRun bool
	)
	c := &cobra.Command{
		Use:               "delete KIND NAME... | -f FILE|DIR|-",
		Short:             "Delete objects: all of them, or none",
		Example:           "  overlane delete endpoint blue/web/db1\n  overlane delete -f network.yaml",
		ValidArgsFunction: e.completeKindAndNames,
		RunE: func(c *cobra.Command, args []string) error {
			keys, err := e.keysToDelete(args, files)
			if err != nil {
				return err
			}
			server, err := e.client()
			if err != nil {
				return err
			}
			applied, err := server.Apply(c.Context(), api.Apply{Delete: keys, DryRun: dryRun})
			if err != nil {
				return err
			}
			e.printChanges(applied.Changes, dryRun)
			return nil
		},
	}
	c.Flags().StringArrayVarP(&files, "file", "f", nil, "`FILE` or folder of the objects to delete; - is the standard input; may be repeated")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would change")
	return c
}

func (e *env) keysToDelete(args, files []string) ([]model.Key, error) {
	if len(files) == 0 && len(args) < 2 || len(files) > 0 && len(args) > 0 {
		return nil, usagef("delete wants a kind and names, or -f")
	}
	var keys []model.Key
	if len(files) > 0 {
		objects, err := intentFiles(files).read(e)
		for _, o := range objects {
			keys = append(keys, o.Key())
		}
		return keys, err
	}
	kind, err := kindNamed(args[0])
	for _, name := range args[1:] {
		keys = append(keys, model.Key{Kind: kind.Name, Name: name})
	}
	return keys, err
}
