package store

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Etcd is a store in an etcd cluster. Its revisions are the cluster's, with gaps if others write to the cluster.
type Etcd struct {
	client  *clientv3.Client
	headKey string
	data    string // prefix of the keys of items
	prefix  string // prefix of all keys
	ctx     context.Context
	cancel  context.CancelFunc
}

// EtcdConfig configures the access to a cluster.
type EtcdConfig struct {
	Endpoints []string    // "https://10.0.0.1:2379", "unix:/run/etcd.sock"
	TLS       *tls.Config // nil: not encrypted
	Username  string      // of etcd's own authentication; empty: none
	Password  string
	Prefix    string // of all keys, so that others may use the cluster, too; default "/overlane/"
	Log       *slog.Logger
}

// DialEtcd returns a store in an external cluster. The cluster should have auto-compaction on, since the store never
// compacts a cluster that others may use. It needs no other change of its configuration; see [pack] for large commits.
func DialEtcd(ctx context.Context, c EtcdConfig) (*Etcd, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:          c.Endpoints,
		TLS:                c.TLS,
		Username:           c.Username,
		Password:           c.Password,
		DialTimeout:        5 * time.Second,
		MaxCallSendMsgSize: math.MaxInt32, // the cluster decides
		Logger:             zapTo(c.Log),
		DialOptions: []grpc.DialOption{grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 30 * time.Second, Timeout: 5 * time.Second,
		})},
	})
	if err != nil {
		return nil, fmt.Errorf("dial etcd %s: %w", strings.Join(c.Endpoints, ","), err)
	}
	s := newEtcd(client, cmp.Or(c.Prefix, "/overlane/"))
	if err = s.reach(ctx, c.Log); err == nil {
		_, err = s.Load(ctx, "none/")
	}
	if err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("dial etcd %s: %w", strings.Join(c.Endpoints, ","), err)
	}
	return s, nil
}

// reach waits until a member of the cluster answers. It asks repeatedly and logs the reason of each failure, which
// etcd's client would not. A TLS error ends it at once.
func (e *Etcd) reach(ctx context.Context, log *slog.Logger) error {
	said := ""
	for {
		_, err := pb.NewKVClient(e.client.ActiveConnection()).Range(ctx,
			&pb.RangeRequest{Key: []byte(e.headKey), Serializable: true}, grpc.WaitForReady(false))
		if status.Code(err) != codes.Unavailable {
			return nil // Load reports other errors
		}
		why := reason(err)
		if strings.Contains(why, "tls: ") {
			return errors.New(why)
		}
		if log != nil && why != said {
			log.Error("etcd does not answer; will ask again", "endpoints", strings.Join(e.client.Endpoints(), ","),
				"error", why)
			said = why
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", ctx.Err(), why)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// reason returns gRPC's reason of a failed connection, without its wrapping.
func reason(err error) string {
	why := status.Convert(err).Message()
	if i := strings.LastIndex(why, `desc = "`); i >= 0 {
		why = strings.TrimSuffix(why[i+len(`desc = "`):], `"`)
	}
	return why
}

func newEtcd(client *clientv3.Client, prefix string) *Etcd {
	ctx, cancel := context.WithCancel(context.Background())
	return &Etcd{client: client, prefix: prefix, headKey: prefix + "head", data: prefix + "data/", ctx: ctx,
		cancel: cancel}
}

// page is the number of items in one read.
const page = 10_000

// Load implements [Store].
func (e *Etcd) Load(ctx context.Context, prefix string) (Snapshot, error) {
	ctx, done := e.during(ctx)
	defer done()
	s, err := e.load(ctx, e.data+prefix)
	if err != nil {
		return Snapshot{}, fmt.Errorf("load: %w", e.cause(err))
	}
	return s, nil
}

func (e *Etcd) load(ctx context.Context, from string) (Snapshot, error) {
	end := clientv3.WithRange(clientv3.GetPrefixRangeEnd(from))
	first, err := e.client.Txn(ctx).Then(
		clientv3.OpGet(e.headKey),
		clientv3.OpGet(from, end, clientv3.WithLimit(page)),
	).Commit()
	if err != nil {
		return Snapshot{}, err
	}
	s := Snapshot{Revision: first.Header.Revision}
	for _, kv := range first.Responses[0].GetResponseRange().Kvs {
		s.Head = kv.ModRevision
	}
	r := (*clientv3.GetResponse)(first.Responses[1].GetResponseRange())
	for e.add(&s, r.Kvs); r.More; e.add(&s, r.Kvs) {
		next := string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
		r, err = e.client.Get(ctx, next, end, clientv3.WithLimit(page), clientv3.WithRev(s.Revision))
		if err != nil {
			return Snapshot{}, err
		}
	}
	return s, nil
}

// during returns a context that also ends when the store is closed, since etcd's client would retry for seconds.
func (e *Etcd) during(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(e.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

func (e *Etcd) add(s *Snapshot, kvs []*mvccpb.KeyValue) {
	for _, kv := range kvs {
		s.Items = append(s.Items, e.item(kv))
	}
}

func (e *Etcd) item(kv *mvccpb.KeyValue) Item {
	return Item{Key: strings.TrimPrefix(string(kv.Key), e.data), Value: kv.Value, Revision: kv.ModRevision}
}

// Commit implements [Store].
func (e *Etcd) Commit(ctx context.Context, head int64, b Batch) (int64, error) {
	ops, err := pack(append(e.ops(b), clientv3.OpPut(e.headKey, "")))
	if err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	ctx, done := e.during(ctx)
	defer done()
	r, err := e.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(e.headKey), "=", head)).
		Then(ops...).Commit()
	if err != nil {
		return 0, fmt.Errorf("commit of %d keys: %w", b.Len(), e.cause(err))
	}
	if !r.Succeeded {
		return r.Header.Revision, fmt.Errorf("commit: %w", ErrConflict)
	}
	return r.Header.Revision, nil
}

// Write implements [Store].
func (e *Etcd) Write(ctx context.Context, b Batch) (int64, error) {
	ops, err := pack(e.ops(b))
	if err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	ctx, done := e.during(ctx)
	defer done()
	r, err := e.client.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return 0, fmt.Errorf("write of %d keys: %w", b.Len(), e.cause(err))
	}
	return r.Header.Revision, nil
}

func (e *Etcd) ops(b Batch) []clientv3.Op {
	ops := make([]clientv3.Op, 0, b.Len()+1)
	for _, item := range b.Put {
		ops = append(ops, clientv3.OpPut(e.data+item.Key, string(item.Value)))
	}
	for _, key := range b.Delete {
		ops = append(ops, clientv3.OpDelete(e.data+key))
	}
	return ops
}

// packWidth is the number of operations in a nested transaction. A cluster accepts as many operations at one level as
// --max-txn-ops (default 128), less those of the levels above, so it accepts three levels of this width.
const packWidth = 42

// pack wraps operations into nested transactions, which are one atomic write at one revision. So a cluster that accepts
// 128 operations accepts a commit of about 74,000 objects.
func pack(ops []clientv3.Op) ([]clientv3.Op, error) {
	const levels = 3
	for level := 1; len(ops) > packWidth; level++ {
		if level == levels {
			return nil, fmt.Errorf("%w: more than %d keys in one; send it in parts", ErrTooLarge,
				packWidth*packWidth*packWidth)
		}
		var groups []clientv3.Op
		for len(ops) > 0 {
			n := min(packWidth, len(ops))
			groups = append(groups, clientv3.OpTxn(nil, ops[:n], nil))
			ops = ops[n:]
		}
		ops = groups
	}
	return ops, nil
}

// Watch implements [Store]. etcd never splits the events of one revision over two responses.
func (e *Etcd) Watch(ctx context.Context, after int64) iter.Seq2[Commit, error] {
	return func(yield func(Commit, error) bool) {
		ctx, done := e.during(clientv3.WithRequireLeader(ctx))
		defer done()
		for r := range e.client.Watch(ctx, e.prefix, clientv3.WithPrefix(), clientv3.WithRev(after+1)) {
			if err := r.Err(); err != nil {
				yield(Commit{}, fmt.Errorf("watch after revision %d: %w", after, e.cause(err)))
				return
			}
			for _, c := range e.commits(r.Events) {
				if !yield(c, nil) {
					return
				}
				after = c.Revision
			}
		}
		yield(Commit{}, fmt.Errorf("watch after revision %d: %w", after,
			e.cause(cmp.Or(ctx.Err(), errors.New("etcd ended it")))))
	}
}

// commits groups events by revision.
func (e *Etcd) commits(events []*clientv3.Event) []Commit {
	var commits []Commit
	for _, event := range events {
		if n := len(commits); n == 0 || commits[n-1].Revision != event.Kv.ModRevision {
			commits = append(commits, Commit{Revision: event.Kv.ModRevision})
		}
		c := &commits[len(commits)-1]
		switch key := string(event.Kv.Key); {
		case key == e.headKey:
			c.Head = true
		case !strings.HasPrefix(key, e.data):
		case event.Type == clientv3.EventTypeDelete:
			c.Delete = append(c.Delete, strings.TrimPrefix(key, e.data))
		default:
			c.Put = append(c.Put, e.item(event.Kv))
		}
	}
	for i := range commits {
		commits[i].sort()
	}
	return commits
}

// cause translates etcd's errors into the errors of this package.
func (e *Etcd) cause(err error) error {
	switch {
	case e.ctx.Err() != nil:
		return ErrClosed
	case errors.Is(err, rpctypes.ErrCompacted):
		return ErrCompacted
	case errors.Is(err, rpctypes.ErrTooManyOps):
		return fmt.Errorf("%w: raise --max-txn-ops of the etcd cluster to 128 or more", ErrTooLarge)
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("it is full; compact, defragment and disarm it, or raise its quota: %w", err)
	case tooLarge(err):
		return fmt.Errorf("%w: raise --max-request-bytes of the etcd cluster, or send it in parts", ErrTooLarge)
	}
	return err
}

// tooLarge reports whether a request was too large for etcd or for gRPC.
func tooLarge(err error) bool {
	return errors.Is(err, rpctypes.ErrRequestTooLarge) || strings.Contains(err.Error(), "request is too large") ||
		status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "message larger than max")
}

// Close implements [Store].
func (e *Etcd) Close() error {
	e.cancel()
	if err := e.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close etcd client: %w", err)
	}
	return nil
}
