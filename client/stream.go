package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/overlane/overlane/internal/backoff"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/view"
)

// pauses are the pauses between attempts to reach the server.
func pauses() backoff.Backoff {
	return backoff.Backoff{First: 100 * time.Millisecond, Most: 5 * time.Second}
}

// Watch goes over the changes after a revision, of one kind of object only if it is not empty. If the connection breaks it resumes
// where it was, and for as long as ctx lives. It ends with an error if ctx does, or the server refuses; with [ErrGone] if
// the server no longer knows the revision: list, then watch from there.
func (c *Client) Watch(ctx context.Context, kind string, after int64) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		pause := pauses()
		for {
			err := stream(ctx, c, watchPath(kind, after), func(e api.Event) error {
				pause.Reset()
				if e.Type == api.Failed {
					return e.Error
				}
				if e.Type == api.Sync {
					after = e.Revision
				}
				if !yield(e, nil) {
					return errStopped
				}
				return nil
			})
			if errors.Is(err, errStopped) {
				return
			}
			if !errors.Is(err, ErrUnavailable) || !pause.Wait(ctx) {
				yield(api.Event{}, cmpErr(ctx.Err(), err))
				return
			}
		}
	}
}

// errStopped says that the caller has seen enough.
var errStopped = errors.New("stopped")

func cmpErr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

func watchPath(kind string, after int64) string {
	q := url.Values{"after": {strconv.FormatInt(after, 10)}}
	if kind != "" {
		q.Set("kind", kind)
	}
	return "/v1/watch?" + q.Encode()
}

// FollowView calls each with every delta of a host's view, reconnecting for ever, until ctx ends. The first delta of each
// connection is complete. down is told when a connection ends, or does not come about, and why.
func (c *Client) FollowView(ctx context.Context, host string, each func(view.Delta), down func(error)) {
	pause := pauses()
	for {
		err := stream(ctx, c, "/v1/hosts/"+url.PathEscape(host)+"/view", func(d view.Delta) error {
			pause.Reset()
			each(d)
			return nil
		})
		if ctx.Err() != nil {
			return
		}
		down(err)
		if !pause.Wait(ctx) {
			return
		}
	}
}

// stream reads one JSON value after the other, until one is refused, the connection ends, or ctx does. It never returns nil.
func stream[T any](ctx context.Context, c *Client, path string, each func(T) error) error {
	r, err := c.open(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	for decoder := json.NewDecoder(r.Body); ; {
		var value T
		if err := decoder.Decode(&value); errors.Is(err, io.EOF) {
			return c.unreachable(ctx, io.ErrUnexpectedEOF)
		} else if err != nil {
			return c.unreachable(ctx, err)
		}
		if err := each(value); err != nil {
			return err
		}
	}
}
