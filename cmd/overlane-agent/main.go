// Command overlane-agent is the agent of a host. "overlane agent" runs it, and has its help; both come in one archive, and belong into one folder.
package main

import (
	"os"

	"github.com/overlane/overlane/cmd/internal/agentd"
)

func main() { os.Exit(agentd.Main(os.Args[1:], os.Stdout, os.Stderr)) }
