package agent

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/internal/roottest"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/ovs/ovstest"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/view"
)

const patience = 30 * time.Second

// pretendServer is the API for one host: it gives places on one subnet, and tells the host of what has changed.
type pretendServer struct {
	mu       sync.Mutex
	revision int64
	places   map[string]view.Address // by endpoint
	deltas   chan view.Delta
	silent   bool          // never gives a view
	mute     bool          // gives places, but does not tell the host of them
	held     chan struct{} // unless nil, a put is answered once this is closed
	tick     time.Duration // of its agents, unless 0
	puts     []string
	deletes  []string
	reported map[model.Key]any // the last status of each
}

func newPretendServer() *pretendServer {
	return &pretendServer{places: map[string]view.Address{}, deltas: make(chan view.Delta, 100), reported: map[model.Key]any{}}
}

var pretendSegment = view.Segment{VNI: 100, VPC: 1000, Subnet: "blue/web", CIDR: netip.MustParsePrefix("172.17.42.0/24"),
	Gateway: netip.MustParseAddr("172.17.42.1"), MTU: 1450, Members: []string{"h1"}}

// whole is the view as it is now.
func (s *pretendServer) whole() view.Delta {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := view.Delta{Revision: s.revision + 1, Complete: true, VTEP: netip.MustParseAddr("127.0.0.1"), Segments: []view.Segment{pretendSegment}}
	for _, a := range s.places {
		d.Addresses = append(d.Addresses, a)
	}
	return d
}

func (s *pretendServer) FollowView(ctx context.Context, _ string, each func(view.Delta), _ func(error)) {
	if s.silent {
		<-ctx.Done()
		return
	}
	each(s.whole())
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-s.deltas:
			each(d)
		}
	}
}

func (s *pretendServer) Put(_ context.Context, o model.Object) (model.Object, error) {
	s.mu.Lock()
	s.puts = append(s.puts, o.Name)
	s.mu.Unlock()
	if s.held != nil {
		<-s.held
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	spec := *o.Spec.(*model.EndpointSpec)
	place, had := s.places[o.Name]
	if !had {
		place = newAddress(o.Name)
	}
	place.Host, place.Attachment = spec.Host, spec.Attachment
	s.places[o.Name] = place
	if !s.mute {
		s.deltas <- view.Delta{Revision: s.revision, Addresses: []view.Address{place}}
	}
	spec.Address, spec.MAC, spec.Ephemeral = place.IP, place.MAC, place.Ephemeral
	o.Spec = &spec
	return o, nil
}

// place is a put of before the test.
func (s *pretendServer) place(name string, at model.Attachment) {
	address := newAddress(name)
	address.Host, address.Attachment = "h1", &at
	s.places[name] = address
}

// addresses counts those that were given.
var addresses atomic.Uint32

// newAddress is one that no other test has: interfaces are named by it, and tests share a network namespace.
func newAddress(endpoint string) view.Address {
	n := byte(addresses.Add(1) + 1)
	return view.Address{AddressKey: view.AddressKey{VNI: 100, IP: netip.AddrFrom4([4]byte{172, 17, 42, n})},
		MAC: model.MAC{2, 0x4f, 172, 17, 42, n}, Endpoint: endpoint, Ephemeral: true}
}

func (s *pretendServer) Delete(_ context.Context, key model.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deletes = append(s.deletes, key.Name)
	place, had := s.places[key.Name]
	if !had {
		return &api.Error{Kind: api.NotFound, Message: "no " + key.Name}
	}
	delete(s.places, key.Name)
	delete(s.reported, key)
	s.revision++
	s.deltas <- view.Delta{Revision: s.revision, GoneAddresses: []view.AddressKey{place.AddressKey}}
	return nil
}

func (s *pretendServer) PutStatus(_ context.Context, updates []model.StatusUpdate) (ignored []model.Key, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range updates {
		if _, ok := s.places[u.Key.Name]; !ok && u.Key.Kind == "Endpoint" {
			ignored = append(ignored, u.Key)
			continue
		}
		s.reported[u.Key] = u.Status
	}
	return ignored, nil
}

func (s *pretendServer) Version(context.Context) (api.Version, error) { return api.Version{}, nil }

// has tells of one of the lists what is in it.
func (s *pretendServer) did(list *[]string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(*list, " ")
}

// start runs an agent on a switch until stop, or the end of the test.
func start(t *testing.T, s *pretendServer, ovsDir, state string) (a *Agent, stop func()) {
	t.Helper()
	return startLogging(t, s, ovsDir, state, t.Output())
}

func startLogging(t *testing.T, s *pretendServer, ovsDir, state string, log io.Writer) (a *Agent, stop func()) {
	t.Helper()
	a = New(local.Config{Host: "h1", Address: netip.MustParseAddr("127.0.0.1"), State: state, Socket: filepath.Join(state, "a.sock"),
		OVS: ovsDir, Bridge: "br-overlane", Datapath: ovs.Kernel, UDPPort: 4789, NoFirewall: true}, s, slog.New(slog.NewTextHandler(log, nil)))
	a.measured.every = cmp.Or(s.tick, a.measured.every)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return a, stop
}

// eventually asks the loop until it says yes.
func (a *Agent) eventually(t *testing.T, what string, ready func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.queue.await(ctx, what, ready); err != nil {
		t.Fatal(err)
	}
}

func poll(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ready(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: still not after %s", what, patience)
		}
	}
}

func ip(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("ip", args...)
	var problems strings.Builder // apart: ip warns of interfaces whose other end's namespace is just going
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, problems.String())
	}
	return string(out)
}

// netns makes a network namespace that is gone after the test.
func netns(t *testing.T, name string) string {
	t.Helper()
	roottest.Need(t)
	name = fmt.Sprintf("agent-%d-%s", os.Getpid(), name)
	ip(t, "netns", "add", name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	return name
}

func dummySwitch(t *testing.T) *ovstest.OVS { return ovstest.Start(t, ovstest.Options{}) }
