package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/overlane/overlane/view"
)

// Local calls the agent of this machine through its socket.
type Local struct{ Socket string }

// Attach plugs an endpoint in. It returns once the switch has confirmed the endpoint's flows. Whatever goes wrong,
// everything that was made is taken back. Attaching what is attached changes nothing, unless something is missing
// there.
func (l Local) Attach(ctx context.Context, r AttachRequest) (reply AttachReply, err error) {
	err = l.call(ctx, http.MethodPost, "/v1/attach", r, &reply)
	return reply, err
}

// Detach unplugs endpoints of this host and gives them back to the server: those made by attach are deleted. It returns
// their names; none is no error, for what is not attached is detached.
func (l Local) Detach(ctx context.Context, r DetachRequest) (names []string, err error) {
	err = l.call(ctx, http.MethodPost, "/v1/detach", r, &names)
	return names, err
}

// Status is what the agent has measured.
func (l Local) Status(ctx context.Context) (s Status, err error) {
	err = l.call(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// View is what the host knows.
func (l Local) View(ctx context.Context) (d view.Delta, err error) {
	err = l.call(ctx, http.MethodGet, "/v1/view", nil, &d)
	return d, err
}

func (l Local) call(ctx context.Context, method, path string, body, reply any) error {
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
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", l.Socket)
	}}}
	resp, err := c.Do(r)
	if err != nil {
		return fmt.Errorf("the agent of this machine does not answer on %s (is it running? --agent names another socket): %w", l.Socket, err)
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
