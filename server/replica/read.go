package replica

import (
	"bytes"
	"fmt"
	"iter"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/store"
)

// Objects returns the objects that pick iterates over, with their status, and the revision of the store.
func (r *Replica) Objects(pick func(*model.State) iter.Seq[*model.Object]) (objects []model.Object, revision int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for o := range pick(r.state) {
		objects = append(objects, r.with(o))
	}
	return objects, r.revision
}

// Overview returns the state of the whole network.
func (r *Replica) Overview() api.Overview {
	r.mu.RLock()
	defer r.mu.RUnlock()
	o := api.Overview{Revision: r.revision, Head: r.state.Revision(), Objects: map[string]int{},
		Hosts: []model.Object{}}
	for _, k := range model.Kinds {
		o.Objects[k.Name] = r.state.Len(k.Name)
	}
	for host := range r.state.List("Host") {
		o.Hosts = append(o.Hosts, r.with(host))
	}
	for endpoint := range r.state.List("Endpoint") {
		o.Endpoints.Add(r.endpointStatus(endpoint.Key()))
	}
	return o
}

// Unlike returns the statuses that differ from the stored ones. It encodes nothing, to hold the lock for a short time.
func (r *Replica) Unlike(items []store.Item) (unlike []store.Item) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, item := range items {
		if key, _ := keyOf(statusPrefix, item.Key); !bytes.Equal(r.statuses[key].text, item.Value) {
			unlike = append(unlike, item)
		}
	}
	return unlike
}

// Writes returns the batch for changes. It deletes the status of a deleted object, and the status that a former object
// of the same name has left.
func (r *Replica) Writes(changes []model.Change) (store.Batch, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var b store.Batch
	for _, c := range changes {
		if _, ok := r.statuses[c.Key()]; ok && (c.Action == model.Create || c.Action == model.Delete) {
			b.Delete = append(b.Delete, statusKey(c.Key()))
		}
		switch c.Action {
		case model.Create, model.Update:
			item, err := encodeObject(c.After)
			if err != nil {
				return b, fmt.Errorf("write the change: %w", err)
			}
			b.Put = append(b.Put, item)
		case model.Delete:
			b.Delete = append(b.Delete, objectKey(c.Key()))
		}
	}
	return b, nil
}

// with returns an object with its status. The caller holds mu.
func (r *Replica) with(o *model.Object) model.Object {
	full := *o
	full.Status = r.statusOf(o)
	return full
}

func (r *Replica) statusOf(o *model.Object) any {
	switch o.Kind {
	case "Host":
		if status := r.hostStatus(o.Name); status != nil {
			return status
		}
		return nil
	case "Endpoint":
		if status := r.endpointStatus(o.Key()); status != nil {
			return status
		}
		return nil
	}
	return model.Summarise(r.state, o.Key(), model.Measured{Endpoint: r.endpointStatus, Host: r.hostStatus})
}
