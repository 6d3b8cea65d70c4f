package attach

import "github.com/overlane/overlane/internal/ifname"

// Names that package agent still uses. They go when its files call ifname and ClaimNIC.

// HostIf is [ifname.Endpoint].
func HostIf(endpoint string) string { return ifname.Endpoint(endpoint) }

// HashedIf is [ifname.Hashed].
func HashedIf(prefix, of string, length int) string { return ifname.Hashed(prefix, of, length) }

// SeizeNIC is [ClaimNIC].
func SeizeNIC(name string, kernelDatapath bool) error { return ClaimNIC(name, kernelDatapath) }
