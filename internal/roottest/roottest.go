// Package roottest marks tests that need root. "make check" leaves these out and says how many there are; "make test"
// runs them all.
package roottest

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Env is set by "make check".
const Env = "OVERLANE_CHECK"

// Need ends a test that cannot make network namespaces and mounts. Where [Env] is set the test is skipped, else it
// fails.
func Need(t testing.TB) {
	t.Helper()
	switch {
	case Left():
		t.Skip("needs root")
	case !privileged():
		t.Fatal("needs root; make check runs the tests that do not")
	}
}

// Left tells whether tests that need root are left to "make test".
func Left() bool { return !privileged() && os.Getenv(Env) != "" }

// privileged tells whether the process has CAP_NET_ADMIN and CAP_SYS_ADMIN (capabilities(7)).
func privileged() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // capabilities 0 to 31, 32 to 63
	const needed = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SYS_ADMIN
	return unix.Capget(&header, &sets[0]) == nil && sets[0].Effective&needed == needed
}
