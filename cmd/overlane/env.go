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

	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/server/wire"
	"golang.org/x/sys/unix"
)

// env is what a command may use of the world.
type env struct {
	in       io.Reader
	out, err io.Writer
	server   string // address
	parsed   bool   // the command line was right: errors from here on are not of usage
	ink      ink    // of out
}

func newEnv(in io.Reader, out, problems io.Writer) *env {
	return &env{
		in: in, out: out, err: problems,
		server: cmp.Or(os.Getenv("OVERLANE_SERVER"), client.DefaultAddress),
		ink:    ink(os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && terminal(out)),
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
		tls, err := client.CredentialsIn(defaultConfigDir).TLS()
		if err != nil {
			return nil, fmt.Errorf("%w; remote callers show a host's certificate: overlane join gets one", err)
		}
		c.TLS = tls
	}
	made, err := client.New(c)
	if err != nil {
		return nil, usageError{err}
	}
	return made, nil
}

// defaultConfigDir is where join writes, and the agent reads.
const defaultConfigDir = "/etc/overlane"

// errSilent ends a command with status 1 when everything has been said.
var errSilent = errors.New("failed")

// usageError is a command line that is wrong.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// finish prints an error, if there is one, and gives the exit status.
func (e *env) finish(err error) int {
	var (
		usage  usageError
		status exitStatus
	)
	switch {
	case errors.As(err, &status):
		return int(status)
	case err == nil, errors.Is(err, context.Canceled): // somebody pressed ^C
		return 0
	case errors.Is(err, errSilent):
		return 1
	case !e.parsed, errors.As(err, &usage):
		e.complain(err.Error())
		fmt.Fprintln(e.err, `overlane: see "overlane help"`)
		return 2
	}
	e.complain(explanation(err))
	return 1
}

// explanation leaves out what only programs need: of a request with problems, they alone say everything.
func explanation(err error) string {
	var refused *wire.Error
	if errors.As(err, &refused) && len(refused.Problems) > 0 {
		return refused.Problems.Error()
	}
	if refused != nil && refused.Kind == wire.Internal && refused.RequestID != "" {
		return err.Error() + " (request " + refused.RequestID + " in the server's log)"
	}
	return err.Error()
}

func (e *env) complain(text string) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		fmt.Fprintf(e.err, "overlane: %s\n", strings.TrimRight(line, "\n"))
	}
}
