package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/store"
)

func invalid(format string, args ...any) error     { return refuse(api.Invalid, format, args...) }
func notFound(format string, args ...any) error    { return refuse(api.NotFound, format, args...) }
func unavailable(format string, args ...any) error { return refuse(api.Unavailable, format, args...) }
func denied(format string, args ...any) error      { return refuse(api.Denied, format, args...) }

func refuse(kind api.ErrorKind, format string, args ...any) error {
	return &api.Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// statusError has an HTTP status of its own, instead of the one of its kind.
type statusError struct {
	error
	status int
}

func (e statusError) Unwrap() error { return e.error }

// statusOf is the HTTP status of each kind.
var statusOf = map[api.ErrorKind]int{
	api.Invalid:     http.StatusBadRequest,
	api.NotFound:    http.StatusNotFound,
	api.Conflict:    http.StatusConflict,
	api.Unavailable: http.StatusServiceUnavailable,
	api.Denied:      http.StatusForbidden,
	api.Gone:        http.StatusGone,
	api.Internal:    http.StatusInternalServerError,
}

// translate makes the error of an answer from any error. Errors without a kind come from the store.
func translate(err error) (status int, sent *api.Error) {
	var (
		already  *api.Error
		problems model.Problems
		conflict model.Conflict
	)
	switch {
	case errors.As(err, &already):
		e := *already
		sent = &e
	case errors.As(err, &problems):
		sent = refusalOf(problems)
		status = http.StatusUnprocessableEntity
	case errors.As(err, &conflict):
		sent = &api.Error{Kind: api.Conflict, Message: conflict.Error()}
	case errors.Is(err, store.ErrTooLarge):
		sent = &api.Error{Kind: api.Invalid, Message: err.Error()}
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, context.DeadlineExceeded):
		sent = &api.Error{Kind: api.Unavailable, Message: "the store does not answer: " + err.Error()}
	default:
		sent = &api.Error{Kind: api.Unavailable, Message: "store: " + err.Error()}
	}
	var own statusError
	if errors.As(err, &own) {
		status = own.status
	}
	if status == 0 {
		status = statusOf[sent.Kind]
	}
	return status, sent
}

// maxProblems is the most problems that an answer lists. A request may have a problem with each of its objects.
const maxProblems = 100

func refusalOf(problems model.Problems) *api.Error {
	e := &api.Error{Kind: api.Invalid, Message: "the request is refused, and nothing has changed", Problems: problems}
	if more := len(problems) - maxProblems; more > 0 {
		e.Message += fmt.Sprintf("; here are its first %d problems, and there are %d more", maxProblems, more)
		e.Problems = problems[:maxProblems]
	}
	return e
}

func writeJSON(w http.ResponseWriter, status int, value any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(value)
}
