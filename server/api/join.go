package api

import (
	"net/netip"
	"time"
)

// JoinRequest is the body of POST /v1/join, by which a machine becomes a host. It is the only call without a
// certificate.
type JoinRequest struct {
	Token   string     `json:"token"`
	Host    string     `json:"host"`
	Address netip.Addr `json:"address"` // of its VTEP
	MTU     int        `json:"mtu"`     // of the interface with that address, in bytes of IP
	// PKCS#10 in PEM, signed by the host's new key (ECDSA P-256); the server ignores its subject
	CSR string `json:"csr"`
}

// RenewRequest is the body of POST /v1/renew, by which a host gets a new certificate for its key.
type RenewRequest struct {
	CSR string `json:"csr"`
}

// Joined is the answer to a [JoinRequest] and to a [RenewRequest].
type Joined struct {
	Host        string    `json:"host"`
	Certificate string    `json:"certificate"` // PEM
	CA          string    `json:"ca"`          // PEM
	Time        time.Time `json:"time"`        // by the server's clock
}

// ServerName is the DNS name in the certificate of every server. Clients verify this name whatever address they dial,
// so a server may move, or be behind NAT, without a new certificate.
const ServerName = "overlane-server"
