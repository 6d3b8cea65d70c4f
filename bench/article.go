package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/overlane/overlane/lab"
)

//go:embed article.sh
var articleScript string

const articleBridge = "br-article"

// article builds the article's overlay beside ours, on the same hosts and the same Open vSwitch: a bridge that switches
// like a learning switch (NORMAL), with the gateway, and a VXLAN port to the other host. It may be called again.
func (w *world) article(ctx context.Context) error {
	if err := os.WriteFile(w.scriptPath(), []byte(articleScript), 0o755); err != nil {
		return err
	}
	for _, side := range []struct{ here, there *lab.Host }{{w.host1, w.host2}, {w.host2, w.host1}} {
		if _, err := side.here.Vsctl(ctx, "--may-exist", "add-br", articleBridge, "--", "set", "bridge", articleBridge, "datapath_type=netdev", "--",
			"set", "port", articleBridge, "tag=100", "--",
			"--may-exist", "add-port", articleBridge, "vxlan0", "tag=100", "--", "set", "interface", "vxlan0", "type=vxlan",
			"options:key=100", "options:remote_ip="+side.there.Address.String()); err != nil {
			return err
		}
		if _, err := side.here.Exec(ctx, "sh", "-ec", "ip addr replace 172.17.42.1/24 dev "+articleBridge+"; ip link set "+articleBridge+" up"); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) scriptPath() string { return filepath.Join(w.dir, "work_net.sh") }

// runScript attaches a namespace as the article's script does.
func (w *world) runScript(ctx context.Context, h *lab.Host, netns, port, ip string) (cpu time.Duration, err error) {
	return timed(h, h.Command(ctx, "bash", w.scriptPath(), netns, port, ip))
}

// undoScript detaches it again.
func undoScript(ctx context.Context, h *lab.Host, port string) error {
	_, err := h.Exec(ctx, "sh", "-ec", fmt.Sprintf("ovs-vsctl del-port %s %s; ip link del %s", articleBridge, port, port))
	return err
}

// timed runs a command on a host and gives the CPU time of it and its children.
func timed(h *lab.Host, cmd *exec.Cmd) (time.Duration, error) {
	if err := h.Start(cmd); err != nil {
		return 0, err
	}
	err := cmd.Wait()
	if err != nil {
		err = fmt.Errorf("%s: %w", cmd, err)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), err
}
