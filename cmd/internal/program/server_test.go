package program

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// TestGivenFlags: what one program parses and gives to the other comes to the same there.
func TestGivenFlags(t *testing.T) {
	for _, args := range [][]string{
		nil,
		{"--listen", "", "-v"},
		{"--data", "a b", "--name", "one,two", "--name", "three", "--etcd=http://10.0.0.1:2379", "--verbose=false"},
	} {
		var first, second ServerFlags
		var given []string
		parse(t, args, func(c *cobra.Command, f ServerFlags) { first, given = f, GivenFlags(c) })
		parse(t, given, func(_ *cobra.Command, f ServerFlags) { second = f })
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("%q became %q (-first +second):\n%s", args, given, diff)
		}
		if slices.Contains(given, "--socket=") || len(args) == 0 && len(given) > 0 {
			t.Errorf("%q gave defaults away: %q", args, given)
		}
	}
}

func parse(t *testing.T, args []string, run func(*cobra.Command, ServerFlags)) {
	t.Helper()
	root := &cobra.Command{Use: "overlane"}
	root.PersistentFlags().String("server", "", "")
	root.AddCommand(NewServerCommand(func(c *cobra.Command, f ServerFlags) error {
		run(c, f)
		return nil
	}))
	root.SetArgs(append([]string{"--server", "x", "server"}, args...))
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
}
