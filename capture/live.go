package capture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/gopacket/gopacket/afpacket"

	"github.com/overlane/overlane/model"
)

// AllInterfaces listens on every interface of the network namespace.
const AllInterfaces = ""

// Live captures packets on interfaces. It is for one goroutine.
type Live struct {
	rings   []*ring
	packets chan Packet
	stop    context.CancelFunc
	ended   chan struct{} // closed when all rings have ended
	err     error         // read it when ended is closed
}

// ring is one packet socket and the memory that it shares with the kernel.
type ring struct {
	name    string
	tpacket *afpacket.TPacket
	names   map[int]string // of interfaces, by index
}

// Per interface: 32 blocks of 512 KiB. A block is handed over when it is full, or blockTimeout after its first packet.
const (
	frameSize    = 4096
	blockSize    = 128 * frameSize
	blocks       = 32
	blockTimeout = 20 * time.Millisecond
	pollTimeout  = 100 * time.Millisecond // how long a stop may take to be noticed
)

// Open starts a capture. Port is VXLAN's UDP port: then the kernel passes only tunnel packets, of the given VNIs if
// there are any; 0 passes every packet. The caller closes the result.
func Open(interfaces []string, port uint16, vnis []model.VNI) (*Live, error) {
	if len(interfaces) == 0 {
		return nil, errors.New("capture: no interface")
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &Live{packets: make(chan Packet, 256), stop: stop, ended: make(chan struct{})}
	for _, name := range interfaces {
		r, err := openRing(name, port, vnis)
		if err != nil {
			l.closeRings()
			stop()
			return nil, fmt.Errorf("capture on %s: %w", interfaceName(name), err)
		}
		l.rings = append(l.rings, r)
	}
	go l.read(ctx)
	return l, nil
}

func interfaceName(name string) string {
	if name == AllInterfaces {
		return "all interfaces"
	}
	return name
}

func openRing(name string, port uint16, vnis []model.VNI) (*ring, error) {
	tpacket, err := afpacket.NewTPacket(
		afpacket.OptInterface(name), afpacket.OptFrameSize(frameSize), afpacket.OptBlockSize(blockSize), afpacket.OptNumBlocks(blocks),
		afpacket.OptBlockTimeout(blockTimeout), afpacket.OptPollTimeout(pollTimeout), afpacket.OptAddVLANHeader(true),
		afpacket.TPacketVersion3,
	)
	if err != nil {
		return nil, err
	}
	r := &ring{name: name, tpacket: tpacket, names: map[int]string{}}
	if port == 0 {
		return r, nil
	}
	filter, err := kernelFilter(port, vnis)
	if err == nil {
		err = tpacket.SetBPF(filter)
	}
	if err != nil {
		tpacket.Close()
		return nil, err
	}
	return r, nil
}

// Next waits for a packet. Its error is ctx's when ctx ends.
func (l *Live) Next(ctx context.Context) (Packet, error) {
	select {
	case p := <-l.packets:
		return p, nil
	case <-l.ended:
		return Packet{}, l.err
	case <-ctx.Done():
		return Packet{}, ctx.Err()
	}
}

// read ends when all rings have ended, by a stop or because one failed.
func (l *Live) read(ctx context.Context) {
	failed := make(chan error)
	for _, r := range l.rings {
		go func() { failed <- r.read(ctx, l.packets) }()
	}
	for range l.rings {
		if err := <-failed; l.err == nil {
			l.err = err
		}
		l.stop()
	}
	close(l.ended)
}

func (r *ring) read(ctx context.Context, to chan<- Packet) error {
	for ctx.Err() == nil {
		data, info, err := r.tpacket.ReadPacketData()
		if errors.Is(err, afpacket.ErrTimeout) {
			continue
		} else if err != nil {
			return fmt.Errorf("capture on %s: %w", interfaceName(r.name), err)
		}
		select {
		case to <- Packet{Time: info.Timestamp, Interface: r.interfaceName(info.InterfaceIndex), Data: data, Length: info.Length}:
		case <-ctx.Done():
		}
	}
	return net.ErrClosed
}

func (r *ring) interfaceName(index int) string {
	if r.name != AllInterfaces {
		return r.name
	}
	if name, ok := r.names[index]; ok {
		return name
	}
	name := fmt.Sprintf("interface %d", index) // it may be gone by now
	if i, err := net.InterfaceByIndex(index); err == nil {
		name = i.Name
	}
	r.names[index] = name
	return name
}

// Stats are since the beginning of a capture.
type Stats struct {
	Seen    uint // packets that passed the kernel's filter, the dropped ones included
	Dropped uint // of these, dropped because the ring was full
}

// Stats counts over all interfaces.
func (l *Live) Stats() (s Stats, err error) {
	for _, r := range l.rings {
		_, v3, err := r.tpacket.SocketStats()
		if err != nil {
			return s, fmt.Errorf("statistics of %s: %w", interfaceName(r.name), err)
		}
		s.Seen += v3.Packets()
		s.Dropped += v3.Drops()
	}
	return s, nil
}

// Close stops capturing. Packets that were not read are lost.
func (l *Live) Close() {
	l.stop()
	<-l.ended
	l.closeRings()
}

func (l *Live) closeRings() {
	for _, r := range l.rings {
		r.tpacket.Close()
	}
}
