package server

import (
	"context"
	"fmt"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/server/identity"
)

// admit makes a machine a host: it uses the token, creates or updates the Host object, and signs a certificate for the
// key of the request. From then on, only that key proves the host.
func (j joining) admit(ctx context.Context, q api.JoinRequest) (api.Joined, error) {
	t, err := api.ParseToken(q.Token)
	if err != nil {
		return api.Joined{}, denied("%s", err)
	}
	key, err := identity.RequestedKey(q.CSR)
	if err != nil {
		return api.Joined{}, err
	}
	u := identity.Use{Host: q.Host, Identity: key.Identity}
	by, err := j.tokens.Spend(ctx, t, u)
	if err != nil {
		return api.Joined{}, err
	}
	decide := func(s *model.State) (model.Request, error) { return claim(s, q, key, by) }
	_, err = j.server.changeBy(ctx, Caller{Kind: LocalAdmin}, decide)
	if err != nil && !by.Again {
		if back := j.tokens.Refund(context.WithoutCancel(ctx), t, u); back != nil {
			err = fmt.Errorf("%w; the token %s is used up nonetheless: %w", err, t.ID, back)
		}
	}
	if err != nil {
		return api.Joined{}, err
	}
	return j.ca.Join(q.Host, key)
}

// claim returns the Host with the identity of the joining machine. Only a token that names the host can replace a host
// that has joined. A machine that repeats its request with a used token must still be the host, which may have been
// deleted since.
func claim(s *model.State, q api.JoinRequest, key identity.HostKey, by identity.Spent) (model.Request, error) {
	spec := model.HostSpec{}
	if stored := s.Host(q.Host); stored != nil {
		spec = *stored
	}
	if by.Again && spec.Identity != key.Identity {
		return model.Request{}, denied("the join token is used up; overlane token create makes a new one")
	}
	if spec.Identity != "" && spec.Identity != key.Identity && !by.Named {
		return model.Request{}, refuse(api.Conflict,
			"host %s has joined already, with another key; choose another name with --name, "+
				"or let this machine take its place by a token from overlane token create --host %s", q.Host, q.Host)
	}
	spec.Identity, spec.Address, spec.MTU = key.Identity, q.Address, q.MTU
	return model.Request{Put: []model.Object{{Kind: "Host", Name: q.Host, Spec: &spec}}}, nil
}

// renew gives a host a new certificate for its key. caller is the host that the request's certificate proves.
func renew(ca *identity.CA, caller Caller, q api.RenewRequest) (api.Joined, error) {
	key, err := identity.RequestedKey(q.CSR)
	if err != nil {
		return api.Joined{}, err
	}
	if caller.Kind != HostCaller || key.Identity != caller.Identity {
		return api.Joined{}, denied("a certificate is renewed for the key that it is for; for another key, join again")
	}
	return ca.Join(caller.Host, key)
}
