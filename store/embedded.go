package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"golang.org/x/sys/unix"
)

// EmbeddedConfig configures an embedded etcd.
type EmbeddedConfig struct {
	Dir     string // created if it does not exist, readable by its owner only
	History int    // writes kept for watchers that resume, fewer if they are large; default [DefaultHistory]
	Quota   int64  // of the database file, in bytes; default [DefaultQuota]
	Log     *slog.Logger
}

// Embedded is a store in an etcd of one member inside this process, which does not listen.
type Embedded struct {
	*Etcd
	server *embed.Etcd
	lock   *os.File
	log    *slog.Logger
	space  space
	close  func() error
}

// OpenEmbedded starts etcd on a folder and waits until it is ready, which takes about 0.2 to 0.5 s. Only one process
// may have a folder open; the second one gets an error.
func OpenEmbedded(ctx context.Context, c EmbeddedConfig) (*Embedded, error) {
	c.Quota = cmp.Or(c.Quota, DefaultQuota)
	lock, err := lockFolder(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", c.Dir, err)
	}
	server, err := start(ctx, c)
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("open store %s: %w", c.Dir, err)
	}
	e := &Embedded{Etcd: newEtcd(v3client.New(server.Server), "/overlane/"), server: server, lock: lock, log: c.Log}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.space.history = c.Quota / historyShare
	e.close = sync.OnceValue(e.stop)
	if err := e.relieveAlarm(); err != nil {
		e.log.Error("the store is full, and can be read only", "error", err)
	}
	return e, nil
}

// lockFolder creates and locks the folder. Without the lock, a second etcd would wait for the database for ever.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another process has it open: %w", err)
	}
	return f, nil
}

func start(ctx context.Context, c EmbeddedConfig) (*embed.Etcd, error) {
	server, err := embed.StartEtcd(etcdConfig(c))
	if err != nil {
		return nil, err
	}
	select {
	case <-server.Server.ReadyNotify():
		return server, nil
	case err = <-server.Err():
	case <-server.Server.StopNotify():
		err = errors.New("etcd stopped while starting")
	case <-ctx.Done():
		err = ctx.Err()
	}
	server.Close()
	return nil, err
}

func etcdConfig(c EmbeddedConfig) *embed.Config {
	cfg := embed.NewConfig()
	cfg.Name = "overlane"
	cfg.Dir = filepath.Join(c.Dir, "etcd")
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapTo(c.Log))

	// A member must have a peer URL, although it neither listens nor is dialled there.
	cfg.ListenPeerUrls, cfg.ListenClientUrls, cfg.AdvertiseClientUrls = nil, nil, nil
	cfg.InitialCluster = cfg.Name + "=" + embed.DefaultInitialAdvertisePeerURLs

	// A single member elects itself after at most one election timeout, which is most of the time of a start. Each tick
	// costs CPU time when idle.
	cfg.TickMs, cfg.ElectionMs = 100, 500

	cfg.MaxRequestBytes = 64 << 20
	cfg.QuotaBackendBytes = c.Quota
	cfg.AutoCompactionMode = embed.CompactorModeRevision
	cfg.AutoCompactionRetention = strconv.Itoa(cmp.Or(c.History, DefaultHistory))
	cfg.BootstrapDefragThresholdMegabytes = 100
	// There are no followers, so log entries that the database has need not stay in memory.
	cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = 1000, 10
	cfg.WarningUnaryRequestDuration = time.Second
	return cfg
}

// Compact deletes the history up to a revision. This also happens every five minutes, and whenever a sixteenth of the
// quota has been written.
func (e *Embedded) Compact(ctx context.Context, revision int64) error {
	if _, err := e.client.Compact(ctx, revision); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("compact: %w", err)
	}
	return nil
}

// Close implements [Store].
func (e *Embedded) Close() error { return e.close() }

func (e *Embedded) stop() error {
	err := e.Etcd.Close()
	e.server.Close()
	return errors.Join(err, e.lock.Close())
}
