package ovs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/openflow"
)

// PacketIn is a packet that a flow of the switch sent to the controller.
type PacketIn struct {
	Frame    []byte // from the Ethernet header on
	InPort   uint32
	Userdata []byte // of the flow's controller action
	Table    uint8
	Cookie   uint64     // of the flow
	Metadata flow.Match // in_port, registers and tunnel fields as they were then
}

// PacketOut runs a frame through actions in the switch, as if it had come in by inPort ([flow.PortLocal] will do). It
// does not wait for the switch; if the switch refuses it, that is logged.
func (s *Switch) PacketOut(ctx context.Context, inPort uint32, actions []flow.Action, frame []byte) error {
	e := s.open(1, nil)
	s.close(e) // an answer is not waited for
	err := s.send(ctx, e, 0, openflow.PacketOut{
		Metadata: flow.On(flow.Eq(flow.InPort, flow.U32(inPort))), Actions: actions, Frame: frame,
	})
	if err != nil {
		return fmt.Errorf("send packet: %w", err)
	}
	return nil
}

// PacketOutDone is PacketOut that returns when the switch has done it.
func (s *Switch) PacketOutDone(ctx context.Context, inPort uint32, actions []flow.Action, frame []byte) error {
	_, err := s.ask(ctx, openflow.PacketOut{Metadata: flow.On(flow.Eq(flow.InPort, flow.U32(inPort))), Actions: actions, Frame: frame})
	if err != nil {
		return fmt.Errorf("send packet: %w", err)
	}
	return nil
}

// FlushZone deletes the connections of a conntrack zone, and returns when the switch has done so.
func (s *Switch) FlushZone(ctx context.Context, zone uint16) error {
	if _, err := s.ask(ctx, openflow.FlushZone{Zone: zone}); err != nil {
		return fmt.Errorf("forget connections of zone %d: %w", zone, err)
	}
	return nil
}

// ErrNoFlush says that this Open vSwitch, before 3.1, can delete the connections of a zone only all at once.
var ErrNoFlush = errors.New("this Open vSwitch can forget a zone's connections only all at once; those before 3.1 cannot do better")

// FlushTranslated deletes the connections of a zone that are translated to an address, and returns when the switch has
// done so.
func (s *Switch) FlushTranslated(ctx context.Context, zone uint16, to netip.Addr) error {
	return s.flush(ctx, openflow.FlushConnections{Zone: zone, Answers: true, To: true, Address: to})
}

// FlushEndpoint deletes the connections of a zone that an endpoint opened, or that were opened to it by any address,
// and returns when the switch has done so.
func (s *Switch) FlushEndpoint(ctx context.Context, zone uint16, endpoint netip.Addr) error {
	err := s.flush(ctx, openflow.FlushConnections{Zone: zone, Address: endpoint})
	if err == nil {
		err = s.flush(ctx, openflow.FlushConnections{Zone: zone, Answers: true, Address: endpoint})
	}
	return err
}

func (s *Switch) flush(ctx context.Context, m openflow.FlushConnections) error {
	_, err := s.ask(ctx, m)
	if refused := new(openflow.Error); errors.As(err, refused) && refused.Type == openflow.BadRequest {
		err = fmt.Errorf("%w: %w", ErrNoFlush, err)
	}
	if err != nil {
		return fmt.Errorf("forget connections of zone %d with %s: %w", m.Zone, m.Address, err)
	}
	return nil
}

func (s *Switch) enqueue(m openflow.PacketIn) {
	select {
	case s.queue <- m:
	default:
		s.dropped.Add(1)
	}
}

// deliver calls the callback.
func (s *Switch) deliver() {
	for {
		select {
		case <-s.done:
			return
		case m := <-s.queue:
			if s.config.PacketIn != nil {
				s.config.PacketIn(packetIn(m))
			}
		}
	}
}

func packetIn(m openflow.PacketIn) PacketIn {
	port, _ := m.Metadata.Exactly(flow.InPort)
	return PacketIn{
		Frame: m.Frame, InPort: uint32(port.Lo), Userdata: m.Userdata,
		Table: m.Table, Cookie: m.Cookie, Metadata: m.Metadata,
	}
}
