// Package nlerr classifies the errors of netlink requests.
package nlerr

import (
	"errors"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// missing are the errors by which the kernel says that the object of a request does not exist: ENODEV for links, ESRCH
// for routes, ENOENT for neighbours, rules, routing tables and qdiscs, EADDRNOTAVAIL for addresses.
var missing = []error{unix.ENODEV, unix.ESRCH, unix.ENOENT, unix.EADDRNOTAVAIL}

// NotFound reports whether a request failed because its link, address, route, rule or neighbour does not exist.
func NotFound(err error) bool {
	for _, m := range missing {
		if errors.Is(err, m) {
			return true
		}
	}
	return errors.As(err, new(netlink.LinkNotFoundError))
}

// IgnoreNotFound gives the error of a removal, or nil if the object did not exist.
func IgnoreNotFound(err error) error {
	if NotFound(err) {
		return nil
	}
	return err
}
