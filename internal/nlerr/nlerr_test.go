package nlerr

import (
	"errors"
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestNotFound(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{fmt.Errorf("find eth0: %w", netlink.LinkNotFoundError{}), true},
		{fmt.Errorf("remove the route: %w", unix.ESRCH), true},
		{unix.ENODEV, true},
		{unix.ENOENT, true},
		{unix.EADDRNOTAVAIL, true},
		{unix.EPERM, false},
		{unix.EEXIST, false},
	} {
		if got := NotFound(tt.err); got != tt.want {
			t.Errorf("NotFound(%v) is %v", tt.err, got)
		}
		if got := IgnoreNotFound(tt.err); (got == nil) != (tt.want || tt.err == nil) || got != nil && !errors.Is(got, tt.err) {
			t.Errorf("IgnoreNotFound(%v) is %v", tt.err, got)
		}
	}
}

// The kernel's answers, as the library hands them on: these requests need no rights.
func TestNotFoundOfTheKernel(t *testing.T) {
	if _, err := netlink.LinkByName("no-such-link"); !NotFound(err) {
		t.Errorf("by name: %v", err)
	}
	if _, err := netlink.LinkByIndex(1 << 30); !NotFound(err) {
		t.Errorf("by index: %v", err)
	}
}
