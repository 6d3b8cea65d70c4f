package server

import (
	"context"
	"errors"

	"github.com/overlane/overlane/store"
)

// secretPrefix is in front of the keys of secrets. Nothing that serves objects looks there.
const secretPrefix = "secret/"

// storeVault is a vault in the store, so that all its servers share one CA and honour each other's tokens. Whoever reads the
// store's files can sign certificates, which is why they are the server's user's alone.
type storeVault struct{ store store.Store }

// NewVault is the vault of a store.
func NewVault(s store.Store) Vault { return storeVault{s} }

func (v storeVault) Secret(ctx context.Context, name string) ([]byte, int64, error) {
	item, _, err := v.load(ctx, name)
	return item.Value, item.Revision, err
}

// load reads a secret, revision 0 if there is none, and the head it was read at.
func (v storeVault) load(ctx context.Context, name string) (store.Item, int64, error) {
	snapshot, err := v.store.Load(ctx, secretPrefix+name)
	for _, item := range snapshot.Items {
		if item.Key == secretPrefix+name {
			return item, snapshot.Head, err
		}
	}
	return store.Item{}, snapshot.Head, err
}

// PutSecret goes by the store's head, the one thing the store compares. A head that somebody else moved means to look again
// whether the secret is still what it was.
func (v storeVault) PutSecret(ctx context.Context, name string, value []byte, revision int64) (bool, error) {
	for {
		item, head, err := v.load(ctx, name)
		if err != nil || item.Revision != revision {
			return false, err
		}
		_, err = v.store.Commit(ctx, head, store.Batch{Put: []store.Item{{Key: secretPrefix + name, Value: value}}})
		if !errors.Is(err, store.ErrConflict) {
			return err == nil, err
		}
	}
}
