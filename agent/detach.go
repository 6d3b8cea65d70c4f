package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// detach unplugs endpoints of this host and gives them back to the server: those made by attach are deleted. It returns
// their names; none is no error, for what is not attached is detached.
func (a *attachments) detach(ctx context.Context, r local.DetachRequest) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	found, err := a.find(ctx, r)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	db, _, err := a.database(ctx)
	if err != nil {
		return nil, fmt.Errorf("detach %s: %w", found[0].Endpoint, err)
	}
	var names []string
	for _, address := range found {
		if err := a.detachOne(ctx, db, address); err != nil {
			return names, fmt.Errorf("detach %s: %w", address.Endpoint, err)
		}
		names = append(names, address.Endpoint)
	}
	return names, nil
}

func (a *attachments) detachOne(ctx context.Context, db *ovs.DB, address view.Address) error {
	if err := a.begin(ctx, address.Endpoint); err != nil {
		return err
	}
	defer a.end(address.Endpoint)
	port, err := a.remains(ctx, address)
	if err != nil {
		return err
	}
	if port != "" {
		if err := db.RemovePort(ctx, port); err != nil {
			return err
		}
		if err := attach.Unplumb(ctx, port); err != nil {
			return err
		}
	}
	if err := a.releaseBehind(ctx, address.Endpoint); err != nil {
		return err
	}
	if err := a.releaseNow(ctx, address.Endpoint, address.Ephemeral); err != nil {
		return err
	}
	a.awaitRelease(ctx, address)
	return nil
}

// remains is the name of the port of an endpoint or, if it has none, of its interface; empty if it has neither. By now the
// endpoint may be gone and its address another one's, which then has the port and interface of that name.
func (a *attachments) remains(ctx context.Context, address view.Address) (name string, err error) {
	var failed error
	err = a.queue.ask(ctx, func() {
		if p, ok := a.bridge.endpoints()[address.Endpoint]; ok {
			name = p.Name
		} else if a.intent.mine[address.AddressKey].Endpoint == address.Endpoint {
			name, failed = leftInterface(address)
		}
	})
	return name, errors.Join(err, failed)
}

func (a *attachments) find(ctx context.Context, r local.DetachRequest) ([]view.Address, error) {
	if r.Endpoint == "" && r.Container == "" && r.Netns == "" {
		return nil, invalid("name an endpoint, a container or a netns")
	}
	match := func(at model.Attachment, name string) bool { return name == r.Endpoint }
	switch {
	case r.Container != "":
		id := r.Container
		if c, err := attach.Resolve(ctx, a.config.Docker, r.Container); err == nil {
			id = c.ID
		}
		match = func(at model.Attachment, _ string) bool { return at.Container == id }
	case r.Netns != "":
		path, err := attach.NetnsPath(r.Netns)
		if err != nil {
			return nil, err
		}
		match = func(at model.Attachment, _ string) bool { return at.Netns == path }
	}
	var found []view.Address
	err := a.queue.ask(ctx, func() {
		for name, address := range a.intent.own() {
			if address.Attachment != nil && match(*address.Attachment, name) && (r.Subnet == "" || model.Parent(name) == r.Subnet) {
				found = append(found, address)
			}
		}
	})
	slices.SortFunc(found, func(x, y view.Address) int { return strings.Compare(x.Endpoint, y.Endpoint) })
	return found, err
}
