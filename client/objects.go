package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
)

// objectPath is where an object is: "/v1/endpoints/blue/web/db1".
func objectPath(key model.Key) (string, error) {
	kind, err := kindNamed(key.Kind)
	if err != nil {
		return "", err
	}
	parts := strings.Split(key.Name, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return "/v1/" + kind.Plural + "/" + strings.Join(parts, "/"), nil
}

func kindNamed(name string) (model.Kind, error) {
	kind, ok := model.KindByName(name)
	if !ok {
		return kind, &api.Error{Kind: api.Invalid, Message: fmt.Sprintf("%q is not a kind", name)}
	}
	return kind, nil
}

// List reads the objects of a kind, those under a parent only if it is not empty.
func (c *Client) List(ctx context.Context, kind, parent string) (api.List, error) {
	k, err := kindNamed(kind)
	if err != nil {
		return api.List{}, err
	}
	path := "/v1/" + k.Plural
	if parent != "" {
		path += "?parent=" + url.QueryEscape(parent)
	}
	return ask[api.List](ctx, c, http.MethodGet, path, nil)
}

// Get reads one object.
func (c *Client) Get(ctx context.Context, key model.Key) (model.Object, error) {
	path, err := objectPath(key)
	if err != nil {
		return model.Object{}, err
	}
	return ask[model.Object](ctx, c, http.MethodGet, path, nil)
}

// Put creates or updates one object, and gives it as stored, with what was allocated. Its Revision, if not zero, is the
// one that must still be stored.
func (c *Client) Put(ctx context.Context, o model.Object) (model.Object, error) {
	applied, err := c.Apply(ctx, api.Apply{Objects: Objects(o)})
	if err != nil {
		return o, err
	}
	for _, change := range applied.Changes {
		if change.Kind == o.Kind && change.Name == o.Name && change.After != nil {
			return *change.After, nil
		}
	}
	return o, fmt.Errorf("put %s: the server did not say what became of it", o.Key())
}

// Delete deletes one object.
func (c *Client) Delete(ctx context.Context, key model.Key) error {
	_, err := c.Apply(ctx, api.Apply{Delete: []model.Key{key}})
	return err
}

// Apply changes any number of objects at once: all of them, or none.
func (c *Client) Apply(ctx context.Context, a api.Apply) (api.Applied, error) {
	return ask[api.Applied](ctx, c, http.MethodPost, "/v1/apply", a)
}

// Objects are objects as they are sent.
func Objects(objects ...model.Object) []api.Object {
	sent := make([]api.Object, len(objects))
	for i, o := range objects {
		spec, err := json.Marshal(o.Spec)
		if err != nil { // no spec has a field that cannot be encoded
			panic(fmt.Sprintf("encode %s: %v", o.Key(), err))
		}
		sent[i] = api.Object{Kind: o.Kind, Name: o.Name, Revision: o.Revision, Spec: spec}
	}
	return sent
}

// PutStatus reports what an agent measured. It gives the keys of which the server has kept nothing: those objects are not there (any
// more), or not plugged in anywhere. It sends as many at once as the server takes.
func (c *Client) PutStatus(ctx context.Context, updates []model.StatusUpdate) (ignored []model.Key, err error) {
	for part := range slices.Chunk(updates, api.MaxReports) {
		more, err := c.putStatus(ctx, part)
		if err != nil {
			return ignored, err
		}
		ignored = append(ignored, more...)
	}
	return ignored, nil
}

func (c *Client) putStatus(ctx context.Context, updates []model.StatusUpdate) (ignored []model.Key, err error) {
	reports := make([]api.Report, len(updates))
	for i, u := range updates {
		status, err := json.Marshal(u.Status)
		if err != nil {
			return nil, fmt.Errorf("encode the status of %s: %w", u.Key, err)
		}
		reports[i] = api.Report{Kind: u.Key.Kind, Name: u.Key.Name, Status: status}
	}
	var answer api.Reported
	err = c.call(ctx, http.MethodPost, "/v1/status", reports, &answer)
	return answer.Ignored, err
}

// Overview reads how the whole network is.
func (c *Client) Overview(ctx context.Context) (api.Overview, error) {
	return ask[api.Overview](ctx, c, http.MethodGet, "/v1/status", nil)
}

// Version asks for the server's.
func (c *Client) Version(ctx context.Context) (api.Version, error) {
	return ask[api.Version](ctx, c, http.MethodGet, "/v1/version", nil)
}
