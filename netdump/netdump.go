// Package netdump has the kernel's network tables whole.
package netdump

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// List asks again when something changed while the kernel was telling, which makes an answer incomplete
// (NLM_F_DUMP_INTR). If that is so each of a hundred times, the error is netlink.ErrDumpInterrupted.
func List[T any](ask func() ([]T, error)) (answer []T, err error) {
	for range 100 {
		answer, err = ask()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return answer, err
}
