package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/server/identity"
	"github.com/overlane/overlane/store"
	"github.com/overlane/overlane/view"
)

// site is a server that listens to other machines, in this process.
type site struct {
	t       *testing.T
	server  *Server
	ca      *identity.CA
	tokens  *identity.Tokens
	address string // HOST:PORT
	log     *syncBuffer
	remote  *connections
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newSite(t *testing.T) *site { return newSiteOn(t, store.NewMemory(0), nil) }

// newSiteOn is a site on a store. change may spoil its CA before it listens.
func newSiteOn(t *testing.T, kept store.Store, change func(*identity.CA) *identity.CA) *site {
	t.Helper()
	log := &syncBuffer{}
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := New(t.Context(), Config{Store: kept, Log: logger, Heartbeat: 20 * time.Millisecond})
	check(t, err)
	ca, err := identity.OpenCA(t.Context(), identity.NewSecretStore(kept))
	check(t, err)
	if change != nil {
		ca = change(ca)
	}
	tokens := identity.NewTokens(identity.NewSecretStore(kept), ca)
	s.AddJoining(ca, tokens)
	l, err := s.ListenTLS("127.0.0.1:0", ca, identity.Names{DNS: []string{"localhost"},
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	check(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &site{t, s, ca, tokens, l.Addr().String(), log, l.remote}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused wants an error that says so.
func refused(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("error is %v, not one with %q", err, words)
	}
}

func (s *site) token(q api.TokenRequest) api.Token {
	s.t.Helper()
	made, err := s.tokens.Create(s.t.Context(), q)
	check(s.t, err)
	parsed, err := api.ParseToken(made.Text)
	check(s.t, err)
	return parsed
}

// joinAs joins with a key in a folder of its own.
func (s *site) joinAs(host, address string, k api.Token) (client.Credentials, error) {
	f := client.CredentialsIn(s.t.TempDir())
	return f, client.Join(s.t.Context(), s.address, k, host, netip.MustParseAddr(address), 1500, f)
}

// host joins, and must succeed.
func (s *site) host(name, address string) client.Credentials {
	s.t.Helper()
	f, err := s.joinAs(name, address, s.token(api.TokenRequest{}))
	check(s.t, err)
	return f
}

func (s *site) as(f client.Credentials) *client.Client {
	s.t.Helper()
	c, err := f.TLS()
	check(s.t, err)
	return s.with(c)
}

func (s *site) with(c *tls.Config) *client.Client {
	s.t.Helper()
	made, err := client.New(client.Config{Address: "https://" + s.address, TLS: c})
	check(s.t, err)
	s.t.Cleanup(made.Close)
	return made
}

// admin changes objects as a local admin would.
func (s *site) admin(q model.Request) {
	s.t.Helper()
	_, err := s.server.change(s.t.Context(), Caller{Kind: LocalAdmin}, q)
	check(s.t, err)
}

// see reads the host's own object, as an agent may.
func see(c *client.Client, host string) error {
	_, err := c.Get(context.Background(), model.Key{Kind: "Host", Name: host})
	return err
}

func TestJoinGivesACertificateThatNamesTheHost(t *testing.T) {
	s := newSite(t)
	f := s.host("host1", "192.0.2.1")
	check(t, see(s.as(f), "host1"))
	spec := s.server.State().Host("host1")
	if spec == nil || spec.Address != netip.MustParseAddr("192.0.2.1") || spec.MTU != 1500 {
		t.Errorf("the Host is %+v", spec)
	}
	info, err := os.Stat(f.Key)
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v", info.Mode())
	}
}

// The answer is lost on its way, and the token is good for one use.
func TestJoinAsksAgainWhenAConnectionBreaksOff(t *testing.T) {
	s := newSite(t)
	f := client.CredentialsIn(t.TempDir())
	through := s.behindCut(func() bool { return strings.Contains(s.log.String(), "host joined") })
	check(t, client.Join(t.Context(), through, s.token(api.TokenRequest{}), "host1", netip.MustParseAddr("192.0.2.1"),
		1500, f))
	check(t, see(s.as(f), "host1"))
	if n := strings.Count(s.log.String(), "host joined"); n != 2 {
		t.Errorf("the host joined %d times, not twice", n)
	}
}

// behindCut is the address of a proxy in front of the site that cuts its first connection instead of passing on what
// the server says, as soon as cut holds.
func (s *site) behindCut(cut func() bool) string {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(s.t, err)
	s.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for first := true; ; first = false {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", s.address)
			if err != nil {
				_ = near.Close()
				continue
			}
			never := func() bool { return false }
			if !first {
				cut = never
			}
			go relay(far, near, never)
			go relay(near, far, cut)
		}
	}()
	return l.Addr().String()
}

// relay copies until either end closes, or cut holds, and then closes both.
func relay(to, from net.Conn, cut func() bool) {
	defer to.Close()
	defer from.Close()
	for b := make([]byte, 64<<10); ; {
		n, err := from.Read(b)
		if err != nil || cut() {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func TestJoinKeepsWhatTheUserSaidOfTheHost(t *testing.T) {
	s := newSite(t)
	s.admin(model.Request{Put: []model.Object{{Kind: "Host", Name: "host1",
		Spec: &model.HostSpec{Address: netip.MustParseAddr("192.0.2.9"), Roles: []string{"compute", "edge"}}}}})
	s.host("host1", "192.0.2.1")
	spec := s.server.State().Host("host1")
	if len(spec.Roles) != 2 || spec.Address != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("the Host is %+v", spec)
	}
}

func TestTokenRefusals(t *testing.T) {
	s := newSite(t)
	good := s.token(api.TokenRequest{})
	other := newSite(t).token(api.TokenRequest{})
	revoked, short := s.token(api.TokenRequest{}), s.token(api.TokenRequest{TTL: api.Duration(time.Nanosecond)})
	check(t, s.tokens.Revoke(t.Context(), revoked.ID))
	used := s.token(api.TokenRequest{})
	_, err := s.joinAs("host0", "192.0.2.200", used)
	check(t, err)
	for _, c := range []struct {
		name  string
		token api.Token
		words string
	}{
		{"wrong CA", api.Token{ID: good.ID, Secret: good.Secret, CA: other.CA}, "is not from the CA that was expected"},
		{"wrong secret", api.Token{ID: good.ID, Secret: other.Secret, CA: good.CA}, "is not one of this server's"},
		{"unknown ID", api.Token{ID: "nosuchid", Secret: good.Secret, CA: good.CA}, "is not one of this server's"},
		{"revoked", revoked, "is revoked"},
		{"expired", short, "expired at"},
		{"used", used, "is used up"},
		{"other host", s.token(api.TokenRequest{Host: "host7"}), "is for host host7, not for host1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.joinAs("host1", "192.0.2.1", c.token)
			refused(t, err, c.words)
			if s.server.State().Host("host1") != nil {
				t.Error("the host is there all the same")
			}
		})
	}
}

func TestGuessingKnownIDsIsNoCheaper(t *testing.T) {
	s := newSite(t)
	known := s.token(api.TokenRequest{})
	guess := func(id string) string {
		_, err := s.tokens.Spend(t.Context(), api.Token{ID: id, Secret: "guess"},
			identity.Use{Host: "host1", Identity: "x"})
		if err == nil {
			t.Fatal("let in")
		}
		return err.Error()
	}
	if a, b := guess(known.ID), guess("nosuchid"); a != b {
		t.Errorf("a known ID is told from an unknown one:\n%s\n%s", a, b)
	}
	_, err := s.joinAs("host1", "192.0.2.1", known)
	check(t, err) // guesses use nothing up
}

func TestOneUseIsOneUse(t *testing.T) {
	kept := store.NewMemory(0)
	sites := []*site{newSiteOn(t, kept, nil), newSiteOn(t, kept, nil)} // two servers of one store
	k := sites[0].token(api.TokenRequest{})
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		won  int
		lost []error
	)
	for i := range 8 {
		wg.Go(func() {
			_, err := sites[i%2].joinAs("host"+string(rune('a'+i)), "192.0.2."+string(rune('1'+i)), k)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else {
				lost = append(lost, err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d machines joined with a token for one: %v", won, lost)
	}
	for _, err := range lost {
		refused(t, err, "is used up")
	}
}

func TestRefusedJoinUsesNothingUp(t *testing.T) {
	s := newSite(t)
	k := s.token(api.TokenRequest{})
	_, err := s.joinAs("Not A Name", "192.0.2.1", k)
	refused(t, err, "Host Not A Name")
	_, err = s.joinAs("host1", "127.0.0.1", k)
	refused(t, err, "spec.address")
	_, err = s.joinAs("host1", "192.0.2.1", k)
	check(t, err)
}

func TestLostAnswerIsAskedForAgain(t *testing.T) {
	s := newSite(t)
	k := s.token(api.TokenRequest{})
	f, err := s.joinAs("host1", "192.0.2.1", k)
	check(t, err)
	again := func() error {
		return client.Join(t.Context(), s.address, k, "host1", netip.MustParseAddr("192.0.2.1"), 1500, f)
	}
	check(t, again())
	s.admin(model.Request{Delete: []model.Key{{Kind: "Host", Name: "host1"}}})
	refused(t, again(), "used up") // but it brings no deleted host back
}

func TestNobodyTakesAHostsPlaceUnasked(t *testing.T) {
	s := newSite(t)
	first := s.host("host1", "192.0.2.1")
	_, err := s.joinAs("host1", "192.0.2.1", s.token(api.TokenRequest{}))
	refused(t, err, "host host1 has joined already, with another key")
	if !errors.Is(err, client.ErrConflict) {
		t.Errorf("%v is no conflict", err)
	}
	second, err := s.joinAs("host1", "192.0.2.1", s.token(api.TokenRequest{Host: "host1"}))
	check(t, err)
	check(t, see(s.as(second), "host1"))
	refused(t, see(s.as(first), "host1"), "another machine has taken the name")
}

func TestConcurrentClaimsOfOneName(t *testing.T) {
	s := newSite(t)
	k := s.token(api.TokenRequest{Uses: 8})
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		won []client.Credentials
	)
	for range 8 {
		wg.Go(func() {
			f, err := s.joinAs("host1", "192.0.2.1", k)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				won = append(won, f)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d machines are host1", len(won))
	}
	check(t, see(s.as(won[0]), "host1"))
}

func TestHostSeesOnlyItsOwnView(t *testing.T) {
	s := newSite(t)
	s.host("host1", "192.0.2.1")
	c := s.as(s.host("host2", "192.0.2.2"))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	why := make(chan error, 1)
	go c.FollowView(ctx, "host1", func(d view.Delta) { t.Errorf("host2 was told of host1: %+v", d) }, func(err error) {
		select {
		case why <- err:
		default:
		}
	})
	refused(t, <-why, "host host2 may not read the view of host host1")
	_, err := c.Put(t.Context(), model.Object{Kind: "Host", Name: "host2",
		Spec: &model.HostSpec{Address: netip.MustParseAddr("192.0.2.2")}})
	refused(t, err, "may not change Host host2")
	_, err = c.CreateToken(t.Context(), api.TokenRequest{})
	refused(t, err, "host host2 may not POST /v1/tokens")
	_, err = c.PutStatus(t.Context(), []model.StatusUpdate{{Key: model.Key{Kind: "Host", Name: "host1"},
		Status: &model.HostStatus{}}})
	refused(t, err, "host1")
}

func TestDeletedHostIsRefusedAtOnce(t *testing.T) {
	s := newSite(t)
	c := s.as(s.host("host1", "192.0.2.1"))
	check(t, see(c, "host1"))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	told, why := make(chan bool, 100), make(chan error, 100)
	go c.FollowView(ctx, "host1", func(view.Delta) { told <- true }, func(err error) { why <- err })
	<-told
	s.admin(model.Request{Delete: []model.Key{{Kind: "Host", Name: "host1"}}})
	refused(t, see(c, "host1"), "host host1 was deleted")
	for err := range why { // the stream breaks off, and is not begun again
		if errors.Is(err, client.ErrDenied) {
			refused(t, err, "host host1 was deleted")
			break
		}
	}
	s.admin(model.Request{Put: []model.Object{{Kind: "Host", Name: "host1",
		Spec: &model.HostSpec{Address: netip.MustParseAddr("192.0.2.1")}}}})
	refused(t, see(c, "host1"), "revoked") // a namesake does not make the old certificate good
}

func TestRevokedHostIsRefusedAtOnce(t *testing.T) {
	s := newSite(t)
	c := s.as(s.host("host1", "192.0.2.1"))
	spec := *s.server.State().Host("host1")
	spec.Identity = model.NoIdentity
	s.admin(model.Request{Put: []model.Object{{Kind: "Host", Name: "host1", Spec: &spec}}})
	refused(t, see(c, "host1"), "the certificate of host host1 was revoked")
	_, err := s.joinAs("host1", "192.0.2.1", s.token(api.TokenRequest{}))
	refused(t, err, "has joined already")
}

func TestCertificatesThatAreNotGood(t *testing.T) {
	s := newSite(t)
	f := s.host("host1", "192.0.2.1")
	good, err := f.TLS()
	check(t, err)
	own, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	check(t, err)

	selfMade, err := identity.OpenCA(t.Context(), identity.NewSecretStore(store.NewMemory(0)))
	check(t, err)
	old := s.ca.At(func() time.Time { return time.Now().AddDate(-2, 0, 0) })
	for _, c := range []struct {
		name  string
		pair  *tls.Certificate
		words string
	}{
		{"none", nil, "show a host's certificate"},
		{"from another CA, of the same name", issue(t, selfMade, "host1", own.PrivateKey),
			"is not from this server's CA"},
		{"self-signed", selfSigned(t, "host1"), "is not from this server's CA"},
		{"expired", issue(t, old, "host1", own.PrivateKey), "the certificate of host host1 is good from"},
		{"right name, other key", issue(t, s.ca, "host1", newKey(t)),
			"was revoked, or another machine has taken the name"},
		{"of a host that is not there", issue(t, s.ca, "host9", newKey(t)), "host host9 was deleted"},
		{"a server's", serversOwn(t, s.ca), "names no host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spoiled := good.Clone()
			spoiled.GetClientCertificate = nil
			if c.pair != nil {
				spoiled.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate,
					error) {
					return c.pair, nil
				}
			}
			refused(t, see(s.with(spoiled), "host1"), c.words)
		})
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return key
}

func issue(t *testing.T, ca *identity.CA, host string, key any) *tls.Certificate {
	private := key.(*ecdsa.PrivateKey)
	der, err := ca.HostCertificate(host, &private.PublicKey)
	check(t, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func selfSigned(t *testing.T, host string) *tls.Certificate {
	key := newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		URIs:        []*url.URL{{Scheme: "overlane", Host: "host", Path: "/" + host}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	template.Subject.CommonName = host
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func serversOwn(t *testing.T, ca *identity.CA) *tls.Certificate {
	made, err := ca.ServerTLS(identity.Names{}).GetCertificate(nil)
	check(t, err)
	return made
}

func TestOldTLSIsRefused(t *testing.T) {
	s := newSite(t)
	good, err := s.host("host1", "192.0.2.1").TLS()
	check(t, err)
	good.MinVersion, good.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	refused(t, see(s.with(good), "host1"), "speaks only TLS 1.3")
}

func TestHostCannotPoseAsServer(t *testing.T) {
	s := newSite(t)
	f := s.host("host1", "192.0.2.1")
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	check(t, err)
	authority, _ := pem.Decode(s.ca.PEM())
	pair.Certificate = append(pair.Certificate, authority.Bytes)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	fake := &http.Server{Handler: http.NotFoundHandler(), TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}}
	fake.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	go func() { _ = fake.ServeTLS(l, "", "") }()
	defer fake.Close()

	victim := client.CredentialsIn(t.TempDir())
	err = client.Join(t.Context(), l.Addr().String(), s.token(api.TokenRequest{}), "host2",
		netip.MustParseAddr("192.0.2.2"), 1500, victim)
	refused(t, err, "its certificate is not an overlane server's")
	s.address = l.Addr().String()
	refused(t, see(s.as(f), "host1"), "its certificate is not an overlane server's")
}

func TestClocksThatDiffer(t *testing.T) {
	ahead := newSiteOn(t, store.NewMemory(0), func(ca *identity.CA) *identity.CA {
		return ca.At(func() time.Time { return time.Now().Add(3 * time.Hour) })
	})
	_, err := ahead.joinAs("host1", "192.0.2.1", ahead.token(api.TokenRequest{}))
	refused(t, err, "set the clock")
	refused(t, err, "begins at")

	some := newSiteOn(t, store.NewMemory(0), func(ca *identity.CA) *identity.CA {
		return ca.At(func() time.Time { return time.Now().Add(45 * time.Minute) })
	})
	f, err := some.joinAs("host1", "192.0.2.1", some.token(api.TokenRequest{}))
	refused(t, err, "behind the server's")
	if _, err := os.Stat(f.Certificate); err == nil {
		t.Error("the certificate was kept")
	}
}

func TestRenew(t *testing.T) {
	s := newSite(t)
	f := s.host("host1", "192.0.2.1")
	before, err := os.ReadFile(f.Certificate)
	check(t, err)
	c := s.as(f)
	check(t, c.Renew(t.Context(), f))
	after, err := os.ReadFile(f.Certificate)
	check(t, err)
	if bytes.Equal(before, after) {
		t.Error("the certificate is the old one")
	}
	check(t, see(s.as(f), "host1"))
	check(t, os.Remove(f.Key)) // another key than the certificate's
	refused(t, c.Renew(t.Context(), f), "for another key, join again")
}

func TestSecretsStaySecret(t *testing.T) {
	kept := store.NewMemory(0)
	s := newSiteOn(t, kept, nil)
	k := s.token(api.TokenRequest{})
	_, err := s.joinAs("host1", "192.0.2.1", k)
	check(t, err)
	_, err = s.joinAs("host2", "192.0.2.2", k)
	refused(t, err, "used up")
	if strings.Contains(s.log.String(), k.Secret) {
		t.Error("the log has a token's secret")
	}
	if !strings.Contains(s.log.String(), k.ID) {
		t.Error("the log does not say which token was refused") // so this test would find the secret
	}
	all, err := kept.Load(t.Context(), "")
	check(t, err)
	for _, item := range all.Items {
		if strings.Contains(string(item.Value), k.Secret) {
			t.Errorf("the store has a token's secret, under %s", item.Key)
		}
	}
}
