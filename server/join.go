package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
)

// admit lets a machine in: its token is used up, the Host object is made or updated, and the key of its request gets a certificate
// that names the host. From then on that key, and no other, speaks for the host.
func (j joining) admit(ctx context.Context, q api.JoinRequest) (api.Joined, error) {
	t, err := api.ParseToken(q.Token)
	if err != nil {
		return api.Joined{}, denied("%s", err)
	}
	key, err := requestedKey(q.CSR)
	if err != nil {
		return api.Joined{}, err
	}
	u := use{Host: q.Host, Identity: key.identity}
	by, err := j.tokens.spend(ctx, t, u)
	if err != nil {
		return api.Joined{}, err
	}
	_, err = j.server.changeBy(ctx, Caller{Kind: LocalAdmin}, func(s *model.State) (model.Request, error) { return claim(s, q, key.identity, by) })
	if err != nil && !by.again {
		if back := j.tokens.refund(context.WithoutCancel(ctx), t, u); back != nil {
			err = fmt.Errorf("%w; the token %s is used up nonetheless: %w", err, t.ID, back)
		}
	}
	if err != nil {
		return api.Joined{}, err
	}
	return j.ca.joined(q.Host, key.public)
}

// claim is the Host with the joining machine's identity. Nobody takes the place of a host that has joined, unless the token
// names it. Who comes again with a token that he has used up must still be the host: it may have been deleted since.
func claim(s *model.State, q api.JoinRequest, identity string, by spent) (model.Request, error) {
	spec := model.HostSpec{}
	if stored := s.Host(q.Host); stored != nil {
		spec = *stored
	}
	if by.again && spec.Identity != identity {
		return model.Request{}, denied("the join token is used up; overlane token create makes a new one")
	}
	if spec.Identity != "" && spec.Identity != identity && !by.named {
		return model.Request{}, refuse(api.Conflict, "host %s has joined already, with another key; choose another name with --name, "+
			"or let this machine take its place by a token from overlane token create --host %s", q.Host, q.Host)
	}
	spec.Identity, spec.Address, spec.MTU = identity, q.Address, q.MTU
	return model.Request{Put: []model.Object{{Kind: "Host", Name: q.Host, Spec: &spec}}}, nil
}

// renew gives a host a new certificate for the key it has. caller is the host that the request's certificate proved.
func renew(ca *CA, caller Caller, q api.RenewRequest) (api.Joined, error) {
	key, err := requestedKey(q.CSR)
	if err != nil {
		return api.Joined{}, err
	}
	if caller.Kind != HostCaller || key.identity != caller.Identity {
		return api.Joined{}, denied("a certificate is renewed for the key that it is for; for another key, join again")
	}
	return ca.joined(caller.Host, key.public)
}

// hostKey is the public key of a host's request.
type hostKey struct {
	public   *ecdsa.PublicKey
	identity string
}

// requestedKey reads a certificate request, and sees to it that who sent it has the key.
func requestedKey(csr string) (hostKey, error) {
	block, _ := pem.Decode([]byte(csr))
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return hostKey{}, invalid("csr: is not a certificate request in PEM")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return hostKey{}, invalid("csr: %s", err)
	}
	public, ok := request.PublicKey.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return hostKey{}, invalid("csr: the key is not an ECDSA key on P-256")
	}
	if err := request.CheckSignature(); err != nil {
		return hostKey{}, invalid("csr: %s", err)
	}
	return hostKey{public, identityOf(request.RawSubjectPublicKeyInfo)}, nil
}

func (ca *CA) joined(host string, public *ecdsa.PublicKey) (api.Joined, error) {
	der, err := ca.HostCertificate(host, public)
	if err != nil {
		return api.Joined{}, fmt.Errorf("sign the certificate of host %s: %w", host, err)
	}
	return api.Joined{Host: host, Certificate: string(certificatePEM(der)), CA: string(ca.PEM()), Time: ca.now()}, nil
}
