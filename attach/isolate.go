package attach

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// isolateHostEnd keeps the host's own network stack out of the endpoint's network. A switch on the userspace datapath
// reads copies of packets, so the host would also see them: it would answer a tenant's ARP for its own addresses,
// forward the tenant's packets, and deliver broadcasts to sockets of the host.
func (p *plumbing) isolateHostEnd() error {
	if p.outer.Attrs().RawFlags&unix.IFF_NOARP == 0 {
		if err := p.did(p.host.LinkSetARPOff(p.outer)); err != nil {
			return err
		}
	}
	for _, s := range []struct{ file, value string }{
		{"ipv6/conf/" + p.HostIf + "/disable_ipv6", "1"},
		{"ipv4/conf/" + p.HostIf + "/rp_filter", "1"}, // no route leads there, so no source is acceptable, but for 0.0.0.0
		{"ipv4/conf/" + p.HostIf + "/forwarding", "0"},
		{"ipv4/conf/" + p.HostIf + "/drop_unicast_in_l2_multicast", "1"},
	} {
		err := p.setSysctl("/proc/sys/net/"+s.file, s.value)
		if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(s.file, "ipv6/") {
			continue // a kernel without IPv6
		}
		if err != nil {
			return err
		}
	}
	if p.ChecksumOffload {
		return nil // the kernel datapath takes the packets themselves, and later than a filter would
	}
	return p.dropEverything()
}

func (p *plumbing) setSysctl(file, value string) error {
	has, err := os.ReadFile(file)
	if err != nil || strings.TrimSpace(string(has)) == value {
		return err
	}
	return p.did(os.WriteFile(file, []byte(value), 0))
}

// dropEverything makes the kernel drop every packet from the endpoint, after packet sockets, by which the switch reads,
// have had their copy. No IPv4 sysctl does that: a packet from 0.0.0.0 to 255.255.255.255 passes rp_filter.
func (p *plumbing) dropEverything() error {
	at := netlink.QdiscAttrs{LinkIndex: p.outer.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
	if err := p.did(p.host.QdiscAdd(&netlink.Clsact{QdiscAttrs: at})); err != nil {
		return fmt.Errorf("add clsact: %w", err)
	}
	if err := p.did(addFilter(at.LinkIndex, dropAll)); err != nil {
		return fmt.Errorf("add a filter: %w", err)
	}
	return nil
}

// dropAll is a classic BPF program of one instruction, "ret #2": the verdict TC_ACT_SHOT (tc-bpf(8), direct-action).
var dropAll = []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: uint32(netlink.TC_ACT_SHOT)}}

// addFilter attaches a BPF program to the packets that an interface of the host receives. The netlink package can
// attach only programs that are already loaded.
func addFilter(index int, program []unix.SockFilter) error {
	const handle, priority = 1, 1
	q := nl.NewNetlinkRequest(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	q.AddData(&nl.TcMsg{
		Family: nl.FAMILY_ALL, Ifindex: int32(index), Handle: handle, Parent: netlink.HANDLE_MIN_INGRESS,
		Info: priority<<16 | uint32(nl.Swap16(unix.ETH_P_ALL)),
	})
	q.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("bpf")))
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_BPF_OPS_LEN, binary.NativeEndian.AppendUint16(nil, uint16(len(program))))
	options.AddRtAttr(nl.TCA_BPF_OPS, encode(program))
	options.AddRtAttr(nl.TCA_BPF_FLAGS, nl.Uint32Attr(nl.TCA_BPF_FLAG_ACT_DIRECT))
	q.AddData(options)
	_, err := q.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// encode is as in struct sock_filter (linux/filter.h).
func encode(program []unix.SockFilter) (b []byte) {
	for _, i := range program {
		b = binary.NativeEndian.AppendUint16(b, i.Code)
		b = append(b, i.Jt, i.Jf)
		b = binary.NativeEndian.AppendUint32(b, i.K)
	}
	return b
}
