package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/capture"
	"github.com/overlane/overlane/view"
	"github.com/spf13/cobra"
	"github.com/vishvananda/netlink"
)

// captureFlags is the command line of overlane capture.
type captureFlags struct {
	agent      local.Client
	want       capture.Want
	interfaces []string
	udpPort    uint16
	all        bool
	count      int
	timeout    time.Duration
	verbose    bool
	read       string
	write      string
}

func newCapture(e *env) *cobra.Command {
	var f captureFlags
	c := &cobra.Command{
		Use:   "capture",
		Short: "Show packets of this host's underlay, decoded, with the names of intent",
		Long: "Show the tunnel packets of this host's underlay, decoded down to what containers say, with the names of hosts, subnets and\n" +
			"endpoints beside the addresses. Packets between two endpoints of one host do not cross the underlay: look at their\n" +
			"ports with --interface and --all. It never sends or changes a packet.",
		Example: "  overlane capture --subnet blue/web\n  overlane capture --endpoint blue/web/db1 --count 1 --verbose\n" +
			"  overlane capture --vpc blue --timeout 10s --write blue.pcapng",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.read != "" && len(f.interfaces) > 0 {
				return usagef("capture reads from a file or from interfaces, not from both")
			}
			return e.capture(c.Context(), f)
		},
	}
	agentFlag(c, &f.agent)
	c.Flags().StringVar(&f.want.VPC, "vpc", "", "only packets of this `VPC`")
	c.Flags().StringVar(&f.want.Subnet, "subnet", "", "only packets of this subnet: `VPC/SUBNET`")
	c.Flags().StringVar(&f.want.Endpoint, "endpoint", "", "only packets from or to this endpoint: `VPC/SUBNET/ENDPOINT`")
	c.Flags().StringSliceVarP(&f.interfaces, "interface", "i", nil, "`NAME` of an interface, more than once for more; default: the one with the tunnel address")
	c.Flags().Uint16Var(&f.udpPort, "udp-port", capture.DefaultPort, "UDP `PORT` of VXLAN")
	c.Flags().BoolVar(&f.all, "all", false, "packets outside of tunnels too, as on an endpoint's port")
	c.Flags().IntVarP(&f.count, "count", "c", 0, "stop after `N` packets")
	c.Flags().DurationVar(&f.timeout, "timeout", 0, "stop after this `TIME`, such as 10s")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "layer by layer")
	c.Flags().StringVarP(&f.read, "read", "r", "", "read a pcapng or pcap `FILE` (- for standard input) instead of the wire")
	c.Flags().StringVarP(&f.write, "write", "w", "", "write packets as pcapng to `FILE` (- for standard output) instead of printing them")
	return c
}

// packetSource is the wire or a file.
type packetSource interface {
	Next(context.Context) (capture.Packet, error)
}

type takePacket func(capture.Packet, *capture.Frame) error

func (e *env) capture(ctx context.Context, f captureFlags) error {
	v, names, err := e.captureNames(ctx, f)
	if err != nil {
		return err
	}
	filter, err := names.Filter(f.want)
	if err != nil {
		return err
	}
	filter.Tunnels = !f.all
	source, stop, err := e.captureSource(f, v, filter)
	if err != nil {
		return err
	}
	sink, err := e.captureSink(f, names, filter)
	if err != nil {
		stop()
		return err
	}
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	shown, err := f.pump(ctx, source, filter, sink.take)
	seen := stop()
	if err := errors.Join(err, sink.close(seen)); err != nil {
		return err
	}
	if f.read == "" {
		fmt.Fprintf(e.err, "%d packets, %d seen, %d dropped because this program was too slow\n", shown, seen.Seen, seen.Dropped)
	}
	return nil
}

// captureNames asks the agent for names. Without an agent, packets are printed with numbers only, and a note says so;
// it is an error if the user asked for a name. A file has the names that it was written with.
func (e *env) captureNames(ctx context.Context, f captureFlags) (v view.View, n capture.Names, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	delta, err := f.agent.View(ctx)
	if err != nil {
		if f.want != (capture.Want{}) {
			return v, n, err
		}
		if f.read == "" {
			e.complain("no names: the agent does not answer on " + f.agent.Socket)
		}
		return v, n, nil
	}
	v.Apply(delta)
	if v.Host == "" {
		if s, err := f.agent.Status(ctx); err == nil {
			v.Host = s.Name
		}
	}
	return v, capture.NewNames(v), nil
}

// captureSource opens the file or the interfaces. stop closes them and gives the statistics.
func (e *env) captureSource(f captureFlags, v view.View, filter capture.Filter) (source packetSource, stop func() capture.Stats, err error) {
	if f.read != "" {
		in, err := e.openOr(f.read)
		if err != nil {
			return nil, nil, err
		}
		file, err := capture.Read(in)
		return file, func() capture.Stats { in.Close(); return capture.Stats{} }, err
	}
	port := f.udpPort
	if f.all {
		port = 0
	}
	interfaces := f.interfaces
	if len(interfaces) == 0 {
		interfaces = []string{tunnelInterface(v)}
	}
	live, err := capture.Open(interfaces, port, filter.VNIs)
	if errors.Is(err, os.ErrPermission) {
		err = fmt.Errorf("%w; only root may capture", err)
	}
	if err != nil {
		return nil, nil, err
	}
	return live, func() capture.Stats {
		defer live.Close()
		s, _ := live.Stats() // of a socket that is open: it cannot fail
		return s
	}, nil
}

func (e *env) openOr(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(e.in), nil
	}
	return os.Open(path)
}

// tunnelInterface is the interface on which tunnel packets are captured. On the userspace datapath, tunnel packets
// bypass the tap that has the tunnel address, and the NIC below has no address; so the capture listens on all
// interfaces.
func tunnelInterface(v view.View) string {
	i, err := local.Underlay(v.VTEP)
	if err != nil {
		return capture.AllInterfaces
	}
	if link, err := netlink.LinkByIndex(i.Index); err != nil || link.Type() == "tuntap" {
		return capture.AllInterfaces
	}
	return i.Name
}

// pump passes on the wanted packets, and counts them. A deadline and an interrupt end it like the end of a file.
func (f captureFlags) pump(ctx context.Context, source packetSource, filter capture.Filter, take takePacket) (shown int, err error) {
	for f.count == 0 || shown < f.count {
		p, err := source.Next(ctx)
		switch {
		case errors.Is(err, io.EOF), ctx.Err() != nil:
			return shown, nil
		case err != nil:
			return shown, err
		}
		frame := capture.Decode(p, f.udpPort)
		if !filter.Match(&frame) {
			continue
		}
		shown++
		if err := take(p, &frame); err != nil {
			return shown, err
		}
	}
	return shown, nil
}

// captureSink receives packets.
type captureSink struct {
	take  takePacket
	close func(capture.Stats) error
}

func (e *env) captureSink(f captureFlags, names capture.Names, filter capture.Filter) (captureSink, error) {
	if f.write == "" {
		return e.capturePrinter(f, names, filter), nil
	}
	out, err := io.WriteCloser(nopCloser{e.out}), error(nil)
	if f.write != "-" {
		out, err = os.Create(f.write)
	} else if terminal(e.out) {
		err = usagef("pcapng is not for terminals: write it to a file or a pipe")
	}
	if err != nil {
		return captureSink{}, err
	}
	w := capture.NewWriter(out, names)
	return captureSink{
		take: func(p capture.Packet, frame *capture.Frame) error {
			if err := w.Write(p, frame); err != nil {
				return err
			}
			return w.Flush() // so that a reader of the file or the pipe sees it at once
		},
		close: func(s capture.Stats) error { return errors.Join(w.Close(s), out.Close()) },
	}, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func (e *env) capturePrinter(f captureFlags, names capture.Names, filter capture.Filter) captureSink {
	p := capture.Printer{Names: names, Colour: bool(e.palette)}
	if len(filter.VNIs) == 1 {
		p.Segment = filter.VNIs[0]
	}
	n := 0
	return captureSink{
		take: func(packet capture.Packet, frame *capture.Frame) (err error) {
			n++
			if f.verbose {
				_, err = fmt.Fprint(e.out, p.Nested(n, packet, frame))
			} else {
				_, err = fmt.Fprintln(e.out, p.Line(packet, frame))
			}
			return err
		},
		close: func(capture.Stats) error { return nil },
	}
}
