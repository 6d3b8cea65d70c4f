// Package program is what the programs overlane, overlane-server and overlane-agent have in common: the command lines of the latter, errors and exit statuses, the
// version, the log, and how a machine joins.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/overlane/overlane/server/api"
)

// UsageError is a command line that is wrong.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }

func (e UsageError) Unwrap() error { return e.Err }

// Usagef makes a [UsageError].
func Usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// Finish prints an error, if there is one, and gives the exit status: 0 if all went well or somebody pressed ^C, 1 if something was refused or
// failed, 2 if the program was called wrongly. Errors before the command line was parsed are of that.
func Finish(problems io.Writer, parsed bool, err error) int {
	var usage UsageError
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return 0
	case !parsed, errors.As(err, &usage):
		Complain(problems, err.Error())
		fmt.Fprintln(problems, `overlane: see "overlane help"`)
		return 2
	}
	Complain(problems, explanation(err))
	return 1
}

// explanation leaves out what only programs need: of a request with problems, they alone say everything.
func explanation(err error) string {
	var refused *api.Error
	if errors.As(err, &refused) && len(refused.Problems) > 0 {
		return refused.Problems.Error()
	}
	if refused != nil && refused.Kind == api.Internal && refused.RequestID != "" {
		return err.Error() + " (request " + refused.RequestID + " in the server's log)"
	}
	return err.Error()
}

// Complain prints each line of a text behind "overlane: ".
func Complain(problems io.Writer, text string) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		fmt.Fprintf(problems, "overlane: %s\n", strings.TrimRight(line, "\n"))
	}
}

// Logger logs what is at least as grave as level.
func Logger(to io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: level}))
}

// Level is of a program that is told to be verbose, or not.
func Level(verbose bool) slog.Level {
	if verbose {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}
