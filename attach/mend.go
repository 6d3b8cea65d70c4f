package attach

import (
	"context"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/internal/ifname"
)

// Mend repairs the interface of an endpoint as Plumb would set it up, but makes none ([ErrNotFound]). mended reports
// whether anything was missing: an interrupted call, or a user inside, may have left it so. If another namespace has
// the path now, the error is [ErrConflict].
func Mend(ctx context.Context, r Request) (mended bool, err error) {
	mended, err = mend(ctx, r)
	if err != nil {
		return false, fmt.Errorf("mend %s in %s: %w", r.IfName, r.Netns, err)
	}
	return mended, nil
}

func mend(ctx context.Context, r Request) (bool, error) {
	if err := r.check(); err != nil {
		return false, err
	}
	p, err := openPlumbing(r)
	if err != nil {
		return false, err
	}
	defer p.close()
	if err := p.look(); err != nil {
		return false, err
	}
	if p.outer == nil {
		return false, fmt.Errorf("interface %s: %w", r.HostIf, ErrNotFound)
	}
	if err := p.mustAgree(); err != nil {
		return false, err
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	err = p.configure()
	return p.mended, err
}

// MendHost repairs the host's end alone, if it is unknown where the interface leads: the host's network stack is kept
// out of it.
func MendHost(hostIf string, checksumOffload bool) error {
	if err := mendHost(hostIf, checksumOffload); err != nil {
		return fmt.Errorf("mend %s: %w", hostIf, err)
	}
	return nil
}

func mendHost(hostIf string, checksumOffload bool) error {
	if !ifname.IsEndpoint(hostIf) {
		return fmt.Errorf("%w: not a name that Overlane gives", ErrInvalid)
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	p := &plumbing{Request: Request{HostIf: hostIf, ChecksumOffload: checksumOffload}, host: h}
	if p.outer, err = h.LinkByName(hostIf); err != nil {
		return err
	}
	if err := p.isolateHostEnd(); err != nil {
		return err
	}
	return p.setUp(h, p.outer)
}
