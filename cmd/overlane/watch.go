package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/spf13/cobra"
)

func newWatch(e *env) *cobra.Command {
	var (
		after  int64
		output string
	)
	c := &cobra.Command{
		Use:               "watch [KIND]",
		Short:             "Show changes as they happen, of specs and of status",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: e.completeKindAndNames,
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkOutput(output, "text", "json"); err != nil {
				return err
			}
			kind := ""
			if len(args) > 0 {
				k, err := kindNamed(args[0])
				if err != nil {
					return err
				}
				kind = k.Name
			}
			if !c.Flags().Changed("after") {
				after = -1
			}
			return e.watch(c.Context(), kind, after, output)
		},
	}
	c.Flags().Int64Var(&after, "after", 0, "start after this `REVISION`, as far back as the server remembers; default is now")
	outputFlag(c, &output, "text", "json")
	return c
}

// watch prints what happens after a revision; after -1, what happens from now on.
func (e *env) watch(ctx context.Context, kind string, after int64, output string) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	now, err := c.Overview(ctx) // also to see that there is a server: a watch would wait for it for ever
	if err != nil {
		return err
	}
	if after < 0 {
		after = now.Revision
	}
	for event, err := range c.Watch(ctx, kind, after) {
		if err != nil {
			return err
		}
		if err := e.printEvent(event, output); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) printEvent(event api.Event, output string) error {
	if event.Object == nil { // a heartbeat
		return nil
	}
	if output == "json" {
		return json.NewEncoder(e.out).Encode(event)
	}
	_, err := fmt.Fprintf(e.out, "%8d  %s  %s %s%s\n", event.Revision, e.verb(event), event.Object.Kind, event.Object.Name, e.palette.dim(about(event)))
	return err
}

func (e *env) verb(event api.Event) string {
	if event.Type == api.Delete {
		return e.palette.red("delete")
	}
	return e.palette.green("put   ")
}

// about is the object's columns after its name, "ADDRESS=172.17.42.2 STATE=Ready".
func about(event api.Event) string {
	kind, ok := model.KindByName(event.Object.Kind)
	if !ok || event.Type == api.Delete {
		return ""
	}
	var text strings.Builder
	for _, column := range kind.Columns[1:] {
		if value := column.Value(*event.Object); value != "" && value != "-" {
			fmt.Fprintf(&text, "  %s=%s", strings.ToLower(column.Header), value)
		}
	}
	return text.String()
}
