package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Image is the one image that every Docker daemon of a lab has: busybox.
const Image = "busybox"

const dockerSocket = "/run/docker.sock"

// startDocker starts the host's Docker daemon, without a network of its own, and gives it the image.
func (h *Host) startDocker(ctx context.Context) error {
	began := time.Now()
	if err := h.dockerd().Start(ctx); err != nil {
		return err
	}
	if err := h.loadImage(ctx); err != nil {
		return fmt.Errorf("load image: %w", err)
	}
	h.lab.done(h.Name, "Docker", began)
	return nil
}

func (h *Host) dockerd() *Daemon {
	d := h.daemon("dockerd")
	d.argv = []string{"dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--userland-proxy=false",
		// systemd is the machine's, and so would its cgroups be; these are removed with the lab.
		"--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent=/" + h.cgroup()}
	d.ready = h.pingDocker
	return d
}

func (h *Host) cgroup() string { return cgroupOf(h.lab.File.Name) + "/" + h.Name }

func cgroupOf(lab string) string { return "overlane-lab-" + lab }

func (h *Host) pingDocker(ctx context.Context) error {
	return h.callDocker(ctx, http.MethodGet, "/_ping", nil)
}

func (h *Host) loadImage(ctx context.Context) error {
	root, err := busyboxTar()
	if err != nil {
		return err
	}
	return h.callDocker(ctx, http.MethodPost, "/images/create?fromSrc=-&repo="+Image+"&tag=latest", root)
}

// callDocker calls the host's daemon from outside (Docker Engine API). Docker's own client would cost every start of the command line, which
// links this package, more than the two calls are worth.
func (h *Host) callDocker(ctx context.Context, method, path string, body io.Reader) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, body)
	if err != nil {
		return err
	}
	daemon := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", h.Root()+dockerSocket)
	}}}
	answer, err := daemon.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || bytes.Contains(text, []byte(`"errorDetail"`))) {
		err = fmt.Errorf("docker answers %s to %s %s: %s", answer.Status, method, path, bytes.TrimSpace(text))
	}
	return err
}
