package drill

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/overlane/overlane/lab"
)

// answerPort is where peers answer.
const answerPort = 7800

// location is where a peer runs.
type location struct {
	machine *lab.Machine
	netns   string // empty: none of its own
}

func (p path) endpoint() location { return location{p.host.Machine, p.netns} }

// peer is a process that loads a path, or answers. It ends with its input, and so with this process.
type peer struct {
	cmd   *exec.Cmd
	input io.Closer
	said  strings.Builder
	done  chan struct{} // closed when it has said all
}

// startPeer hands every event of the peer to a function.
func (at location) startPeer(ctx context.Context, event func(Event), args ...string) (*peer, error) {
	argv := append([]string{"overlane", "drill", "peer"}, args...)
	if at.netns != "" {
		argv = append([]string{"ip", "netns", "exec", at.netns}, argv...)
	}
	p := &peer{cmd: at.machine.Command(ctx, argv...), done: make(chan struct{})}
	p.cmd.Stderr = &p.said
	input, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := at.machine.Start(p.cmd); err != nil {
		return nil, fmt.Errorf("%s: start %s: %w", at.machine.Name, strings.Join(argv, " "), err)
	}
	p.input = input
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			var e Event
			if err := json.Unmarshal(lines.Bytes(), &e); err == nil {
				event(e)
			}
		}
	}()
	return p, nil
}

// stop ends it, and returns when it has said all.
func (p *peer) stop() error {
	_ = p.input.Close() // it may have ended
	<-p.done
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(p.cmd.Args, " "), err, strings.TrimSpace(p.said.String()))
	}
	return nil
}

// startAnswer returns when the peer takes what comes.
func (at location) startAnswer(ctx context.Context) (*peer, error) {
	listening := make(chan struct{}, 1)
	p, err := at.startPeer(ctx, func(Event) { listening <- struct{}{} }, "answer", strconv.Itoa(answerPort))
	if err != nil {
		return nil, err
	}
	select {
	case <-listening:
		return p, nil
	case <-p.done:
		return nil, p.stop()
	}
}

// direction is one of a path.
type direction struct {
	*record
	from  location
	to    netip.AddrPort
	port  uint16 // of the probe; the border host that it takes depends on it
	peers []*peer
}

func (p path) inbound(connections int) *direction {
	if !p.public.IsValid() {
		return nil
	}
	return &direction{record: newRecord(connections), from: location{machine: p.client}, to: netip.AddrPortFrom(p.public, answerPort), port: firstPort}
}

func (p path) outbound(connections int) *direction {
	return &direction{record: newRecord(connections), from: p.endpoint(), to: netip.AddrPortFrom(p.server.Address, answerPort), port: firstPort}
}

// firstPort is the port of the first probe that is tried.
const firstPort = 20000

func (d *direction) start(ctx context.Context, args ...string) error {
	p, err := d.from.startPeer(ctx, d.add, args...)
	if err == nil {
		d.peers = append(d.peers, p)
	}
	return err
}

func (d *direction) startProbe(ctx context.Context) error {
	return d.start(ctx, "probe", d.to.String(), "--from", strconv.Itoa(int(d.port)))
}

func (d *direction) startTalk(ctx context.Context) error {
	return d.start(ctx, "talk", d.to.String(), "--connections", strconv.Itoa(len(d.connections)))
}

func (d *direction) stop() (err error) {
	for _, p := range d.peers {
		err = errors.Join(err, p.stop())
	}
	d.peers = nil
	return err
}

// patience is how long a path has to begin to work.
const patience = 30 * time.Second

// await waits until something is so, and says why it is not.
func await(ctx context.Context, patience time.Duration, so func() bool, why func() error) error {
	for deadline := time.Now().Add(patience); !so(); {
		if time.Now().After(deadline) {
			return why()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// works waits until a probe comes back.
func (d *direction) works(ctx context.Context) error {
	return await(ctx, patience, func() bool { return d.echoes() > 0 }, func() error {
		err := fmt.Errorf("nothing comes back from %s within %s", d.to.Addr(), patience)
		if trouble := d.lastTrouble(); trouble != "" {
			err = fmt.Errorf("%w (%s)", err, trouble)
		}
		return err
	})
}

// talks waits until every connection is open.
func (d *direction) talks(ctx context.Context) error {
	return await(ctx, patience, func() bool { return d.talking() == len(d.connections) }, func() error {
		return fmt.Errorf("of %d connections to %s, %d are open after %s: %s", len(d.connections), d.to.Addr(), d.talking(), patience, d.lastTrouble())
	})
}
