package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// TestEmbeddedForgetsByBytes overwrites one key with far more than the file may hold: history may not fill the store.
func TestEmbeddedForgetsByBytes(t *testing.T) {
	e := openSmall(t, t.TempDir())
	var logged bytes.Buffer
	e.log = textLog(&logged)
	for i := range 8 * small / value {
		if _, err := e.Write(t.Context(), Batch{Put: []Item{{Key: "status", Value: make([]byte, value)}}}); err != nil {
			t.Fatalf("write %d of %d bytes into %d: %v", i, value, small, err)
		}
	}
	if logged.Len() > 0 {
		t.Errorf("history filled the store, or could not be forgotten:\n%s", &logged)
	}
}

// TestEmbeddedRecovers fills the store with what is not history, so that etcd raises its alarm.
func TestEmbeddedRecovers(t *testing.T) {
	dir := t.TempDir()
	e := openSmall(t, dir)
	keys := fill(t, e)
	if _, err := e.Write(t.Context(), Batch{Delete: keys}); err != nil {
		t.Fatal("delete from a full store:", err)
	}
	e.space.relieved = time.Time{} // as after a minute
	writes(t, e)

	alarm(t, e)
	e.space.relieved = time.Time{}
	writes(t, e)

	alarm(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openSmall(t, dir)
	if alarms, err := e.client.AlarmList(t.Context()); err != nil || len(alarms.Alarms) > 0 {
		t.Errorf("alarms after a restart: %v, %v", alarms, err)
	}
	writes(t, e)
}

const (
	small = 16 << 20 // bytes of a small store
	value = 64 << 10
)

func openSmall(t *testing.T, dir string) *Embedded {
	e, err := OpenEmbedded(t.Context(), EmbeddedConfig{Dir: dir, Quota: small})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// fill writes new keys until there is no space, and returns those that were written.
func fill(t *testing.T, e *Embedded) (keys []string) {
	for len(keys) < 2*small/value {
		key := fmt.Sprint("k", len(keys))
		_, err := e.Write(t.Context(), Batch{Put: []Item{{Key: key, Value: make([]byte, value)}}})
		if errors.Is(err, rpctypes.ErrNoSpace) {
			return keys
		}
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	t.Fatal("the store takes more than its quota")
	return nil
}

// alarm has etcd believe that it is full.
func alarm(t *testing.T, e *Embedded) {
	t.Helper()
	_, err := e.server.Server.Alarm(t.Context(), &etcdserverpb.AlarmRequest{
		Action: etcdserverpb.AlarmRequest_ACTIVATE, MemberID: uint64(e.server.Server.MemberID()),
		Alarm: etcdserverpb.AlarmType_NOSPACE,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Etcd.Write(context.Background(), Batch{Put: []Item{{Key: "k"}}}); !errors.Is(err,
		rpctypes.ErrNoSpace) {
		t.Fatal("a write with the alarm on:", err)
	}
}

func writes(t *testing.T, e *Embedded) {
	t.Helper()
	head := int64(0)
	if s, err := e.Load(t.Context(), "none/"); err == nil {
		head = s.Head
	}
	if _, err := e.Commit(t.Context(), head,
		Batch{Put: []Item{{Key: "after", Value: make([]byte, value)}}}); err != nil {
		t.Error("commit after relief:", err)
	}
}

func textLog(to *bytes.Buffer) *slog.Logger { return slog.New(slog.NewTextHandler(to, nil)) }
