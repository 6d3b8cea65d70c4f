package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/cmd/internal/program"
	"golang.org/x/sys/unix"
)

// env is what a command may use of the world.
type env struct {
	in       io.Reader
	out, err io.Writer
	server   string  // address
	parsed   bool    // the command line was right: errors from here on are not of usage
	palette  palette // of out
}

func newEnv(in io.Reader, out, problems io.Writer) *env {
	return &env{
		in: in, out: out, err: problems,
		server:  cmp.Or(os.Getenv("OVERLANE_SERVER"), client.DefaultAddress),
		palette: palette(os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && terminal(out)),
	}
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// client calls the server that the command line names. Away from the server's machine it shows the host's certificate.
func (e *env) client() (*client.Client, error) { return e.clientAfter(0) }

// clientAfter waits for a server on this machine that has been started just now.
func (e *env) clientAfter(wait time.Duration) (*client.Client, error) {
	c := client.Config{Address: e.server, Wait: wait}
	if strings.HasPrefix(e.server, "https://") {
		tls, err := client.CredentialsIn(local.DefaultConfigDir).TLS()
		if err != nil {
			return nil, fmt.Errorf("%w; remote callers show a host's certificate: overlane join gets one", err)
		}
		c.TLS = tls
	}
	made, err := client.New(c)
	if err != nil {
		return nil, program.UsageError{Err: err}
	}
	return made, nil
}

// errSilent ends a command with status 1 when everything has been said.
var errSilent = errors.New("failed")

// usagef is an error of a command line that is wrong.
func usagef(format string, args ...any) error { return program.Usagef(format, args...) }

// finish prints an error, if there is one, and gives the exit status.
func (e *env) finish(err error) int {
	var status exitStatus
	switch {
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, errSilent) && !errors.Is(err, context.Canceled):
		return 1
	}
	return program.Finish(e.err, e.parsed, err)
}

// complain prints what went wrong while a command goes on.
func (e *env) complain(text string) { program.Complain(e.err, text) }
