package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/overlane/overlane/cmd/internal/program"
	"github.com/spf13/cobra"
)

// The server and the agent are programs of their own: what they are made of - an etcd, OVSDB, Docker's client - would cost every other command
// its start.

func newServer(*env) *cobra.Command { return program.NewServerCommand(become[program.ServerFlags]) }

func newAgent(*env) *cobra.Command { return program.NewAgentCommand(become[program.AgentFlags]) }

// become has this process run the program of a command with the same flags, which that program parses again. The process keeps its number and
// environment, by which a service manager knows it.
func become[F any](c *cobra.Command, _ F) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	path, err := beside(self, program.Of(c))
	if err != nil {
		return err
	}
	err = syscall.Exec(path, append([]string{path}, program.GivenFlags(c)...), os.Environ())
	return fmt.Errorf("run %s: %w", path, err)
}

// beside finds another program of Overlane: in the folder of this program, else in PATH.
func beside(self, name string) (string, error) {
	here := filepath.Join(filepath.Dir(self), name)
	if path, err := exec.LookPath(here); err == nil {
		return path, nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is neither %s nor in PATH (%s); it comes with overlane, and belongs beside it", name, here, os.Getenv("PATH"))
	}
	return path, nil
}
