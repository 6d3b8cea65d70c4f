package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/overlane/overlane/server/api"
)

// HostKey is the public key in a certificate request of a host.
type HostKey struct {
	Public   *ecdsa.PublicKey
	Identity string // see [Identity]
}

// RequestedKey reads a certificate request (PKCS#10 in PEM), and verifies that its sender has the private key.
func RequestedKey(csr string) (HostKey, error) {
	block, _ := pem.Decode([]byte(csr))
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return HostKey{}, api.Invalid.Errorf("csr: is not a certificate request in PEM")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return HostKey{}, api.Invalid.Errorf("csr: %s", err)
	}
	public, ok := request.PublicKey.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return HostKey{}, api.Invalid.Errorf("csr: the key is not an ECDSA key on P-256")
	}
	if err := request.CheckSignature(); err != nil {
		return HostKey{}, api.Invalid.Errorf("csr: %s", err)
	}
	return HostKey{public, identityOf(request.RawSubjectPublicKeyInfo)}, nil
}

// Join makes the answer to a host that has joined, with a new certificate for its key.
func (ca *CA) Join(host string, key HostKey) (api.Joined, error) {
	der, err := ca.HostCertificate(host, key.Public)
	if err != nil {
		return api.Joined{}, fmt.Errorf("sign the certificate of host %s: %w", host, err)
	}
	return api.Joined{Host: host, Certificate: string(certificatePEM(der)), CA: string(ca.PEM()), Time: ca.now()}, nil
}
