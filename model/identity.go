package model

import "github.com/overlane/overlane/internal/pattern"

// NoIdentity is the identity of a host whose certificate was revoked: no agent may speak for the host.
const NoIdentity = "none"

var identityText = pattern.Of(`^[0-9a-f]{64}$`)

// identity is absent, [NoIdentity], or a SHA-256 in hex.
func (f *findings) identity(s string) {
	if s != "" && s != NoIdentity && !identityText().MatchString(s) {
		f.add("spec.identity", s, "is not a SHA-256 in hex", "leave it out, and run overlane join on the host; none revokes the host's certificate")
	}
}
