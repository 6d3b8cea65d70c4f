package lab

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/moby/moby/client"
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

// dockerClient speaks with the host's daemon from outside.
func (h *Host) dockerClient() (*client.Client, error) {
	return client.New(client.WithHost("unix://" + h.Root() + dockerSocket))
}

func (h *Host) pingDocker(ctx context.Context) error {
	c, err := h.dockerClient()
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Ping(ctx, client.PingOptions{})
	return err
}

func (h *Host) loadImage(ctx context.Context) error {
	root, err := busyboxTar()
	if err != nil {
		return err
	}
	c, err := h.dockerClient()
	if err != nil {
		return err
	}
	defer c.Close()
	answer, err := c.ImageImport(ctx, client.ImageImportSource{Source: root, SourceName: "-"}, Image, client.ImageImportOptions{})
	if err != nil {
		return err
	}
	defer answer.Close()
	_, err = io.Copy(io.Discard, answer)
	return err
}
