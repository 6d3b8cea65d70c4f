package local

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/view"
)

// Client calls the agent of this machine through its socket.
type Client struct{ Socket string }

// Attach plugs an endpoint in. It returns once the switch has confirmed the endpoint's flows. Whatever goes wrong,
// everything that was made is taken back. Attaching what is attached changes nothing, unless something is missing
// there.
func (c Client) Attach(ctx context.Context, r AttachRequest) (reply AttachReply, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/attach", r, &reply)
	return reply, err
}

// Detach unplugs endpoints of this host and gives them back to the server: those made by attach are deleted. It returns
// their names; none is no error, for what is not attached is detached.
func (c Client) Detach(ctx context.Context, r DetachRequest) (names []string, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/detach", r, &names)
	return names, err
}

// Status is what the agent has measured.
func (c Client) Status(ctx context.Context) (s Status, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// View is what the host knows.
func (c Client) View(ctx context.Context) (d view.Delta, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/view", nil, &d)
	return d, err
}

func (c Client) call(ctx context.Context, method, path string, body, reply any) error {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	caller := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", c.Socket)
	}}}
	resp, err := caller.Do(r)
	if err != nil {
		return fmt.Errorf("the agent of this machine does not answer on %s (is it running? --agent names another socket): %w", c.Socket, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("agent's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return readError(answer)
	}
	return json.Unmarshal(answer, reply)
}

func readError(answer []byte) error {
	var r api.Refusal
	if err := json.Unmarshal(answer, &r); err != nil || r.Error == nil {
		return fmt.Errorf("the agent answered %q", answer)
	}
	return r.Error
}
