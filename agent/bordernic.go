package agent

import (
	"fmt"
	"time"

	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// lookAtNIC is how often the host is kept out of the NIC.
const lookAtNIC = 10 * time.Second

// assignNIC keeps the NIC that the view names, and no other, for the switch. The datapath is empty until it is
// known; uplink is the interface of the configuration that tunnels leave by, if it names one.
func (b *borderHost) assignNIC(v *view.View, datapath, uplink string, now time.Time) {
	own, ok := ownHop(v)
	switch {
	case !ok:
		b.nic, b.nicErr = "", nil
	case datapath == "": // how depends on it
		if b.kept.NIC == own.Interface {
			b.nic = b.kept.NIC
		}
	case own.Interface != b.nicTried || !now.Before(b.nicDue):
		b.nicTried, b.nicDue = own.Interface, now.Add(lookAtNIC)
		b.nicErr = b.claimNIC(own.Interface, datapath, uplink)
		if b.nicErr == nil {
			b.nic = own.Interface
		} else if b.nic != own.Interface {
			b.nic = ""
		}
	}
	b.loop.setCondition(condNIC, b.nicErr)
}

// claimNIC keeps the host out of a NIC. One that the switch has already stays there, whatever is found on it.
func (b *borderHost) claimNIC(name, datapath, uplink string) error {
	if name == uplink {
		return fmt.Errorf("interface %s is the one that tunnels leave by (--uplink); the upstream network needs one of its own", name)
	}
	if err := attach.FreeNIC(name); err != nil {
		return err
	}
	if b.kept.NIC != "" && b.kept.NIC != name {
		return fmt.Errorf("interface %s, which the upstream network had before, has not been given back yet", b.kept.NIC)
	}
	if b.kept.Was == nil {
		was, err := attach.ReadNIC(name)
		if err != nil {
			return err
		}
		b.kept.NIC, b.kept.Was = name, &was
		if err := b.save(); err != nil {
			return err
		}
	}
	return attach.ClaimNIC(name, datapath == ovs.Kernel)
}

// releaseNIC gives back a NIC that the switch has no more. What an incomplete view does not name may still be wanted.
func (b *borderHost) releaseNIC(viewComplete bool) {
	if b.kept.Was == nil || b.nic == b.kept.NIC || !viewComplete {
		return
	}
	if err := attach.ReleaseNIC(b.kept.NIC, *b.kept.Was); err != nil {
		b.log.Error("give back the interface of the upstream network", "err", err)
		return
	}
	b.log.Info("interface given back", "interface", b.kept.NIC)
	b.kept.NIC, b.kept.Was = "", nil
	b.nicDue = time.Time{} // for the next one
	_ = b.save()
}
