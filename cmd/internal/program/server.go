package program

import (
	"strings"

	"github.com/overlane/overlane/client"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// ServerFlags are the command line of overlane server.
type ServerFlags struct {
	Data   string   // folder of the embedded store
	Listen string   // address for other machines; empty: none
	Socket string   // path
	Names  []string // further names and addresses of the server's certificate
	Etcd   EtcdFlags

	Verbose bool
}

// EtcdFlags say where an external cluster is. Without endpoints there is none.
type EtcdFlags struct {
	Endpoints     []string // URLs
	CA, Cert, Key string   // files in PEM
}

// NewServerCommand is overlane server: overlane parses its flags, and has overlane-server run it, which parses them again.
func NewServerCommand(run func(*cobra.Command, ServerFlags) error) *cobra.Command {
	var f ServerFlags
	c := &cobra.Command{
		Use:   "server",
		Short: "Run the server: keep the intent, and tell every host its part of it",
		Long: "Run the server. It keeps its data in one folder, or in an etcd cluster that several servers share (--etcd).\n" +
			"Users of this machine reach it by its socket; other machines by mutual TLS, after overlane join.\n" +
			"Until a machine has joined, it prints how to.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return run(c, f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.Data, "data", "/var/lib/overlane/server", "`FOLDER` of the embedded store")
	flags.StringVar(&f.Listen, "listen", ":"+client.DefaultPort, "`ADDRESS` for other machines; empty: only the socket")
	flags.StringVar(&f.Socket, "socket", strings.TrimPrefix(client.DefaultAddress, "unix://"), "`PATH` of the socket for this machine")
	flags.StringSliceVar(&f.Names, "name", nil, "further `NAMES` and addresses for the server's certificate")
	flags.StringSliceVar(&f.Etcd.Endpoints, "etcd", nil, "`URLS` of an etcd cluster to keep everything in")
	flags.StringVar(&f.Etcd.CA, "etcd-cacert", "", "`FILE` of the cluster's CA")
	flags.StringVar(&f.Etcd.Cert, "etcd-cert", "", "`FILE` of the certificate to show the cluster")
	flags.StringVar(&f.Etcd.Key, "etcd-key", "", "`FILE` of its key")
	flags.BoolVarP(&f.Verbose, "verbose", "v", false, "log every request")
	return c
}

// GivenFlags are the flags that the command line has set, as arguments for another program that knows them.
func GivenFlags(c *cobra.Command) (args []string) {
	c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Changed {
			return
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, v := range values {
			args = append(args, "--"+f.Name+"="+v)
		}
	})
	return args
}
