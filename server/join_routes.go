package server

import (
	"fmt"
	"net/http"

	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/server/identity"
)

// AddJoining adds the routes by which machines join.
func (s *Server) AddJoining(ca *identity.CA, tokens *identity.Tokens) {
	j := joining{s, ca, tokens}
	s.Add(
		Route{Method: "POST", Path: "/v1/join", ID: "join", Access: Everybody, Body: api.JoinRequest{}, Limit: 64 << 10,
			Answer: api.Joined{},
			Doc:    "Make a machine a host, by a join token.", Serve: j.join},
		Route{Method: "POST", Path: "/v1/renew", ID: "renew", Access: AdminAndHosts, Body: api.RenewRequest{},
			Limit: 64 << 10, Answer: api.Joined{},
			Doc: "Give a host a new certificate, by the one it has.", Serve: j.renew},
		Route{Method: "GET", Path: "/v1/tokens", ID: "listTokens", Answer: []api.TokenInfo{},
			Doc: "The join tokens, without their secrets.", Serve: j.list},
		Route{Method: "POST", Path: "/v1/tokens", ID: "createToken", Body: api.TokenRequest{}, Answer: api.NewToken{},
			Doc: "Make a join token. The answer is the only place that its text is ever in.", Serve: j.create},
		Route{Method: "DELETE", Path: "/v1/tokens/{id}", ID: "revokeToken", Answer: struct{}{},
			Doc: "End a join token.", Serve: j.revoke},
	)
}

// joining has the dependencies of these routes.
type joining struct {
	server *Server
	ca     *identity.CA
	tokens *identity.Tokens
}

func (j joining) join(w http.ResponseWriter, r *http.Request) error {
	var q api.JoinRequest
	if err := readBody(r, &q); err != nil {
		return err
	}
	joined, err := j.admit(r.Context(), q)
	if err != nil {
		return fmt.Errorf("join as %.63q: %w", q.Host, err) // for the log; the answer has a refusal unchanged
	}
	j.server.log.Info("host joined", "host", q.Host, "address", q.Address, "remote", r.RemoteAddr)
	return writeJSON(w, http.StatusOK, joined)
}

func (j joining) renew(w http.ResponseWriter, r *http.Request) error {
	var q api.RenewRequest
	if err := readBody(r, &q); err != nil {
		return err
	}
	if err := stillCaller(r); err != nil {
		return err
	}
	joined, err := renew(j.ca, CallerOf(r.Context()), q)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, joined)
}

func (j joining) list(w http.ResponseWriter, r *http.Request) error {
	all, err := j.tokens.List(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, all)
}

func (j joining) create(w http.ResponseWriter, r *http.Request) error {
	var q api.TokenRequest
	if err := readBody(r, &q); err != nil {
		return err
	}
	made, err := j.tokens.Create(r.Context(), q)
	if err != nil {
		return err
	}
	j.server.log.Info("join token made", "token", made.ID, "host", made.Host, "uses", made.Uses, "expires",
		made.Expires)
	return writeJSON(w, http.StatusOK, made)
}

func (j joining) revoke(w http.ResponseWriter, r *http.Request) error {
	if err := j.tokens.Revoke(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, struct{}{})
}
