package replica

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/store"
)

// Objects and what was measured of them have keys like "object/Subnet/blue/web" and "status/Subnet/blue/web".
const (
	objectPrefix = "object/"
	statusPrefix = "status/"
)

func objectKey(k model.Key) string { return objectPrefix + k.Kind + "/" + k.Name }

func statusKey(k model.Key) string { return statusPrefix + k.Kind + "/" + k.Name }

// keyOf is the object that a store's key is about; ok is false if it does not start with prefix.
func keyOf(prefix, key string) (k model.Key, ok bool) {
	rest, ok := strings.CutPrefix(key, prefix)
	if !ok {
		return k, false
	}
	k.Kind, k.Name, ok = strings.Cut(rest, "/")
	return k, ok
}

// StatusItem is a status, encoded, as it is stored.
func StatusItem(k model.Key, value []byte) store.Item {
	return store.Item{Key: statusKey(k), Value: value}
}

// stored is an object's value in the store. What the key and the revision say is not repeated.
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

// decodeObject reads leniently: a newer server may have written fields that this one does not know.
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

// DecodeStatus reads what was measured of an object, leniently as well. The error names the object.
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
