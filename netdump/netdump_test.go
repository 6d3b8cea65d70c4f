package netdump

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestListAsksAgainWhileItIsInterrupted(t *testing.T) {
	asked := 0
	got, err := List(func() ([]int, error) {
		if asked++; asked < 3 {
			return []int{1}, netlink.ErrDumpInterrupted
		}
		return []int{1, 2}, nil
	})
	if err != nil || len(got) != 2 || asked != 3 {
		t.Errorf("got %v, %v after %d", got, err, asked)
	}
}

func TestListGivesUpOnWhatIsWrong(t *testing.T) {
	asked, wrong := 0, errors.New("no such device")
	if _, err := List(func() ([]int, error) { asked++; return nil, wrong }); !errors.Is(err, wrong) || asked != 1 {
		t.Errorf("got %v after %d", err, asked)
	}
	if _, err := List(func() ([]int, error) { return nil, netlink.ErrDumpInterrupted }); !errors.Is(err, netlink.ErrDumpInterrupted) {
		t.Errorf("got %v", err)
	}
}
