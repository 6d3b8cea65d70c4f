package api

import (
	"net/netip"
	"time"
)

// JoinRequest is how a machine becomes a host: POST /v1/join, the one call that needs no certificate.
type JoinRequest struct {
	Token   string     `json:"token"`
	Host    string     `json:"host"`
	Address netip.Addr `json:"address"` // of its VTEP
	MTU     int        `json:"mtu"`     // of the interface with that address, in bytes of IP
	CSR     string     `json:"csr"`     // PKCS#10 in PEM, signed by the host's new key (ECDSA P-256); its subject is ignored
}

// RenewRequest asks for a new certificate for the key that the caller's certificate is for: POST /v1/renew.
type RenewRequest struct {
	CSR string `json:"csr"`
}

// Joined is the answer to both.
type Joined struct {
	Host        string    `json:"host"`
	Certificate string    `json:"certificate"` // PEM
	CA          string    `json:"ca"`          // PEM
	Time        time.Time `json:"time"`        // by the server's clock
}

// ServerName is the DNS name in every server's certificate. Clients ask for it whatever address they dial, so a server may
// move, or stand behind NAT, without a new certificate.
const ServerName = "overlane-server"
