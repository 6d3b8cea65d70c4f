package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/overlane/overlane/server/api"
)

func invalid(format string, args ...any) error {
	return &api.Error{Kind: api.Invalid, Message: fmt.Sprintf(format, args...)}
}

func conflict(format string, args ...any) error {
	return &api.Error{Kind: api.Conflict, Message: fmt.Sprintf(format, args...)}
}

func unavailable(format string, args ...any) error {
	return &api.Error{Kind: api.Unavailable, Message: fmt.Sprintf(format, args...)}
}

func ignoreNotFound(err error) error {
	if e := new(api.Error); errors.As(err, &e) && e.Kind == api.NotFound {
		return nil
	}
	return err
}

// writeError keeps the kind of an error of the server's; whatever else goes wrong here is the request's fault or the
// machine's, and its text says which.
func writeError(w http.ResponseWriter, err error) {
	refusal := &api.Error{Kind: api.Unavailable}
	if e := new(api.Error); errors.As(err, &e) {
		refusal.Kind = e.Kind
	}
	refusal.Message = err.Error()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(api.Refusal{Error: refusal}) // who has asked may be gone
}
