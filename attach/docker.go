package attach

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// Container is a Docker container.
type Container struct {
	ID          string // in full
	Name        string
	PID         int
	NetnsPath   string
	Running     bool
	NetworkMode string // "none", "default", "host", the name of a network ...
}

// Resolve finds a running container by name, by ID or by the beginning of an ID. The error is [ErrNotFound] if there is
// none, and [ErrNotRunning] if it is stopped. socket is the path of Docker's socket.
func Resolve(ctx context.Context, socket, nameOrID string) (Container, error) {
	c, err := inspect(ctx, socket, nameOrID)
	if err != nil {
		return c, fmt.Errorf("container %s: %w", nameOrID, err)
	}
	if !c.Running {
		return c, fmt.Errorf("container %s: %w; start it first", nameOrID, ErrNotRunning)
	}
	if c.NetworkMode == "host" {
		return c, fmt.Errorf("container %s: %w: it shares the host's network (--net=host)", nameOrID, ErrInvalid)
	}
	return c, nil
}

func inspect(ctx context.Context, socket, nameOrID string) (Container, error) {
	docker, err := client.New(client.WithHost("unix://" + socket))
	if err != nil {
		return Container{}, err
	}
	defer docker.Close()
	found, err := docker.ContainerInspect(ctx, nameOrID, client.ContainerInspectOptions{})
	switch {
	case errdefs.IsNotFound(err):
		return Container{}, fmt.Errorf("%w; docker at %s does not know it", ErrNotFound, socket)
	case err != nil:
		return Container{}, err
	}
	i := found.Container
	c := Container{ID: i.ID, Name: strings.TrimPrefix(i.Name, "/")}
	if i.State != nil {
		c.Running, c.PID = i.State.Running, i.State.Pid
	}
	if i.HostConfig != nil {
		c.NetworkMode = string(i.HostConfig.NetworkMode)
	}
	c.NetnsPath = filepath.Join("/proc", strconv.Itoa(c.PID), "ns/net")
	return c, nil
}
