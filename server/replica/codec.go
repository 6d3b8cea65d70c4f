package replica

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/store"
)

// Objects and their statuses have keys like "object/Subnet/blue/web" and "status/Subnet/blue/web".
const (
	objectPrefix = "object/"
	statusPrefix = "status/"
)

func objectKey(k model.Key) string { return objectPrefix + k.Kind + "/" + k.Name }

func statusKey(k model.Key) string { return statusPrefix + k.Kind + "/" + k.Name }

// keyOf returns the object that a key of the store belongs to; ok is false if the key does not start with prefix.
func keyOf(prefix, key string) (k model.Key, ok bool) {
	rest, ok := strings.CutPrefix(key, prefix)
	if !ok {
		return k, false
	}
	k.Kind, k.Name, ok = strings.Cut(rest, "/")
	return k, ok
}

// StatusItem returns the stored form of a status.
func StatusItem(k model.Key, value []byte) store.Item {
	return store.Item{Key: statusKey(k), Value: value}
}

// stored is the value of an object in the store. It does not repeat the key or the revision.
type stored struct {
	Spec json.RawMessage `json:"spec"`
}

func encodeObject(o *model.Object) (store.Item, error) {
	spec, err := json.Marshal(o.Spec)
	if err != nil {
		return store.Item{}, fmt.Errorf("encode %s: %w", o.Key(), err)
	}
	value, err := json.Marshal(stored{spec})
	return store.Item{Key: objectKey(o.Key()), Value: value}, err
}

// decodeObject ignores unknown fields, since a newer server may have written them.
func decodeObject(k model.Key, item store.Item) (*model.Object, error) {
	kind, ok := model.KindByName(k.Kind)
	if !ok {
		return nil, fmt.Errorf("decode %s: not a kind", k)
	}
	o := &model.Object{Kind: k.Kind, Name: k.Name, Revision: item.Revision, Spec: kind.New()}
	var value stored
	if err := json.Unmarshal(item.Value, &value); err != nil {
		return nil, fmt.Errorf("decode %s: %w", k, err)
	}
	if err := json.Unmarshal(value.Spec, o.Spec); err != nil {
		return nil, fmt.Errorf("decode %s: %w", k, err)
	}
	return o, nil
}

// DecodeStatus decodes the status of an object. It also ignores unknown fields. The error names the object.
func DecodeStatus(k model.Key, value []byte) (any, error) {
	kind, ok := model.KindByName(k.Kind)
	if !ok {
		return nil, fmt.Errorf("decode status of %s: not a kind", k)
	}
	status := kind.NewStatus()
	if err := json.Unmarshal(value, status); err != nil {
		return nil, fmt.Errorf("decode status of %s: %w", k, err)
	}
	return status, nil
}
