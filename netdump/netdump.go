// Package netdump lists the kernel's network tables completely.
package netdump

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// List repeats a dump that a change made incomplete (NLM_F_DUMP_INTR). After a hundred such dumps the error is
// netlink.ErrDumpInterrupted.
func List[T any](ask func() ([]T, error)) (answer []T, err error) {
	for range 100 {
		answer, err = ask()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return answer, err
}
