package main

import (
	"fmt"
	"runtime"

	"github.com/overlane/overlane/cmd/internal/program"
	"github.com/overlane/overlane/dataplane"
	"github.com/spf13/cobra"
)

func newVersion(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(e.out, "overlane %s %s %s/%s pipeline %d\n",
				program.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, dataplane.Version)
			return err
		},
	}
}
