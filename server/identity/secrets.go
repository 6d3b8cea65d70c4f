package identity

import (
	"context"
	"errors"

	"github.com/overlane/overlane/store"
)

// SecretStore keeps what the API never serves: the CA's key, and the hashes of join tokens. It is shared by all servers of a store.
type SecretStore interface {
	// Secret reads a value. Revision 0 says that there is none.
	Secret(ctx context.Context, name string) (value []byte, revision int64, err error)
	// PutSecret writes a value if the stored one is still at that revision (0: if there is none). Otherwise swapped is false.
	PutSecret(ctx context.Context, name string, value []byte, revision int64) (swapped bool, err error)
}

// secretPrefix is in front of the keys of secrets. Nothing that serves objects looks there.
const secretPrefix = "secret/"

// storeSecrets keeps secrets in the store, so that all its servers share one CA and honour each other's tokens. Whoever reads the
// store's files can sign certificates, which is why they are the server's user's alone.
type storeSecrets struct{ store store.Store }

// NewSecretStore keeps secrets in a store.
func NewSecretStore(s store.Store) SecretStore { return storeSecrets{s} }

func (s storeSecrets) Secret(ctx context.Context, name string) ([]byte, int64, error) {
	item, _, err := s.load(ctx, name)
	return item.Value, item.Revision, err
}

// load reads a secret, revision 0 if there is none, and the head it was read at.
func (s storeSecrets) load(ctx context.Context, name string) (store.Item, int64, error) {
	snapshot, err := s.store.Load(ctx, secretPrefix+name)
	for _, item := range snapshot.Items {
		if item.Key == secretPrefix+name {
			return item, snapshot.Head, err
		}
	}
	return store.Item{}, snapshot.Head, err
}

// PutSecret goes by the store's head, the one thing the store compares. A head that somebody else moved means to look again
// whether the secret is still what it was.
func (s storeSecrets) PutSecret(ctx context.Context, name string, value []byte, revision int64) (bool, error) {
	for {
		item, head, err := s.load(ctx, name)
		if err != nil || item.Revision != revision {
			return false, err
		}
		_, err = s.store.Commit(ctx, head, store.Batch{Put: []store.Item{{Key: secretPrefix + name, Value: value}}})
		if !errors.Is(err, store.ErrConflict) {
			return err == nil, err
		}
	}
}
