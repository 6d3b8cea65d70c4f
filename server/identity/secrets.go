package identity

import (
	"context"
	"errors"

	"github.com/overlane/overlane/store"
)

// SecretStore keeps the secrets that the API never serves: the CA's key, and the hashes of join tokens. All servers of
// a store share it.
type SecretStore interface {
	// Secret reads a value. Its revision is 0 if there is none.
	Secret(ctx context.Context, name string) (value []byte, revision int64, err error)
	// PutSecret writes a value if the stored one still has that revision (0: if there is none). Otherwise swapped is
	// false.
	PutSecret(ctx context.Context, name string, value []byte, revision int64) (swapped bool, err error)
}

// secretPrefix begins the keys of secrets. The code that serves objects never reads them.
const secretPrefix = "secret/"

// storeSecrets keeps secrets in the store, so that all its servers share one CA and accept each other's tokens. A
// process that can read the store's files can sign certificates, so only the server's user can read them.
type storeSecrets struct{ store store.Store }

// NewSecretStore keeps secrets in a store.
func NewSecretStore(s store.Store) SecretStore { return storeSecrets{s} }

func (s storeSecrets) Secret(ctx context.Context, name string) ([]byte, int64, error) {
	item, _, err := s.load(ctx, name)
	return item.Value, item.Revision, err
}

// load reads a secret, with revision 0 if there is none, and the head at that time.
func (s storeSecrets) load(ctx context.Context, name string) (store.Item, int64, error) {
	snapshot, err := s.store.Load(ctx, secretPrefix+name)
	for _, item := range snapshot.Items {
		if item.Key == secretPrefix+name {
			return item, snapshot.Head, err
		}
	}
	return store.Item{}, snapshot.Head, err
}

// PutSecret commits on the store's head, the only revision that the store compares. If another commit has moved the
// head, it checks again whether the secret is unchanged.
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
