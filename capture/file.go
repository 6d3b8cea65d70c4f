package capture

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// File reads a pcapng or pcap file of Ethernet frames.
type File struct {
	next func() (Packet, error)
}

const pcapngMagic = 0x0a0d0d0a // the same in both byte orders

// maxPacket is longer than any captured packet; a file that claims a longer one is refused.
const maxPacket = 1 << 18

// Read reads the head of a file.
func Read(r io.Reader) (*File, error) {
	in := bufio.NewReader(r)
	magic, err := in.Peek(4)
	if err != nil {
		return nil, fmt.Errorf("read capture file: %w", err)
	}
	if binary.LittleEndian.Uint32(magic) == pcapngMagic {
		return readPcapng(in)
	}
	return readPcap(in)
}

// Next gives the next packet, and [io.EOF] after the last one.
func (f *File) Next(ctx context.Context) (Packet, error) {
	if err := ctx.Err(); err != nil {
		return Packet{}, err
	}
	p, err := f.next()
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("read capture file: %w", err)
	}
	return p, err
}

func readPcapng(in io.Reader) (*File, error) {
	r, err := pcapgo.NewNgReader(in, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
	if err != nil {
		return nil, fmt.Errorf("read pcapng header: %w", err)
	}
	return &File{func() (Packet, error) {
		data, info, options, err := r.ReadPacketDataWithOptions()
		if err != nil {
			return Packet{}, err
		}
		i, err := r.Interface(info.InterfaceIndex)
		if err != nil {
			return Packet{}, err
		}
		p, err := packet(i.LinkType, data, info)
		p.Interface, p.Comments = i.Name, options.Comments
		return p, err
	}}, nil
}

func readPcap(in io.Reader) (*File, error) {
	r, err := pcapgo.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("not a pcapng or pcap file: %w", err)
	}
	return &File{func() (Packet, error) {
		data, info, err := r.ReadPacketData()
		if err != nil {
			return Packet{}, err
		}
		return packet(r.LinkType(), data, info)
	}}, nil
}

func packet(link layers.LinkType, data []byte, info gopacket.CaptureInfo) (Packet, error) {
	if link != layers.LinkTypeEthernet {
		return Packet{}, fmt.Errorf("link type %d is not Ethernet", link)
	}
	if len(data) > maxPacket {
		return Packet{}, fmt.Errorf("packet of %d bytes", len(data))
	}
	return Packet{Time: info.Timestamp, Data: data, Length: max(info.Length, len(data))}, nil
}
