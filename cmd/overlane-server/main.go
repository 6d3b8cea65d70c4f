// Command overlane-server is the server. "overlane server" runs it, and has its help; both come in one archive, and belong into one folder.
package main

import (
	"os"

	"github.com/overlane/overlane/cmd/internal/serverd"
)

func main() { os.Exit(serverd.Main(os.Args[1:], os.Stdout, os.Stderr)) }
