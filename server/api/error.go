package api

import (
	"fmt"
	"strings"

	"github.com/overlane/overlane/model"
)

// ErrorKind tells a client what to do about an error.
type ErrorKind string

const (
	Invalid     ErrorKind = "invalid"     // change the request: 400, 405, 413, 415 or 422
	NotFound    ErrorKind = "notFound"    // 404
	Conflict    ErrorKind = "conflict"    // read again, decide again: 409
	Unavailable ErrorKind = "unavailable" // try again later: 503, or 429 to a host that asks too much
	Denied      ErrorKind = "denied"      // another caller may: 403
	Gone        ErrorKind = "gone"        // the revision is no longer known: list, then watch from there: 410
	Internal    ErrorKind = "internal"    // fault in the server; its log has the cause under the request's ID: 500
)

// Error is the reason for which a request was refused.
type Error struct {
	Kind      ErrorKind      `json:"kind" doc:"invalid, notFound, conflict, unavailable, denied, gone or internal."`
	Message   string         `json:"message" doc:"What was being done, and why it could not be."`
	Problems  model.Problems `json:"problems,omitempty" doc:"Each thing that is wrong with the request."`
	RequestID string         `json:"requestID,omitempty" doc:"Finds the request in the server's log."`
}

func (e *Error) Error() string {
	if len(e.Problems) == 0 {
		return e.Message
	}
	return e.Message + ":\n" + strings.TrimRight(e.Problems.Error(), "\n")
}

// Errorf makes an [Error] of a kind.
func (k ErrorKind) Errorf(format string, args ...any) error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// Is reports whether the error has the kind of target, if target is an [Error] with nothing but a kind.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Message == "" && t.Kind == e.Kind
}

// Refusal is the body of every answer with a status of 400 or more.
type Refusal struct {
	Error *Error `json:"error" doc:"Why."`
}
