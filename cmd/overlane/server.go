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

// newServer runs a program of its own: what the server is made of, above all its etcd, would cost every other command its start.
func newServer(*env) *cobra.Command {
	return program.NewServerCommand(func(c *cobra.Command, _ program.ServerFlags) error {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		path, err := serverBeside(self)
		if err != nil {
			return err
		}
		err = syscall.Exec(path, append([]string{path}, program.GivenFlags(c)...), os.Environ())
		return fmt.Errorf("run %s: %w", path, err)
	})
}

// serverBeside finds the server's program: in the folder of this program, else in PATH.
func serverBeside(self string) (string, error) {
	beside := filepath.Join(filepath.Dir(self), program.ServerProgram)
	if path, err := exec.LookPath(beside); err == nil {
		return path, nil
	}
	path, err := exec.LookPath(program.ServerProgram)
	if err != nil {
		return "", fmt.Errorf("%s is neither %s nor in PATH (%s); it comes with overlane, and belongs beside it", program.ServerProgram, beside, os.Getenv("PATH"))
	}
	return path, nil
}
