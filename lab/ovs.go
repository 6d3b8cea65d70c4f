package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
)

const (
	ovsSchema = "/usr/share/openvswitch/vswitch.ovsschema"
	ovsRun    = "/run/openvswitch"
	ovsDB     = ovsRun + "/db.sock"
)

// niceness is what ovs-ctl(8) gives both daemons: a host's other programs are not to make a switch late.
const niceness = -10

// startOVS makes the host's database and starts both daemons, as the distribution's service does.
func (h *Host) startOVS(ctx context.Context) error {
	began := time.Now()
	if _, err := h.Exec(ctx, "ovsdb-tool", "create", h.path("ovs.db"), ovsSchema); err != nil {
		return err
	}
	if err := h.ovsdb().Start(ctx); err != nil {
		return err
	}
	if _, err := h.Exec(ctx, "ovs-vsctl", "--no-wait", "--timeout=30", "init", "--", "set", "open_vswitch", ".",
		"external_ids:system-id="+h.Name, "external_ids:hostname="+h.Name); err != nil {
		return err
	}
	if err := h.vswitchd().Start(ctx); err != nil {
		return err
	}
	h.lab.done(h.Name, "Open vSwitch", began)
	return nil
}

func (h *Host) ovsdb() *Daemon {
	d := h.daemon("ovsdb-server")
	d.nice = niceness
	d.argv = []string{"ovsdb-server", h.path("ovs.db"), "--remote=punix:" + ovsDB, "--no-chdir", "--pidfile", "-vsyslog:off", "-vconsole:warn"}
	d.ready = func(ctx context.Context) error {
		_, err := h.Exec(ctx, "ovsdb-client", "list-dbs", "unix:"+ovsDB)
		return err
	}
	return d
}

func (h *Host) vswitchd() *Daemon {
	d := h.daemon("ovs-vswitchd")
	d.nice = niceness
	d.argv = []string{"ovs-vswitchd", "unix:" + ovsDB, "--no-chdir", "--pidfile", "-vsyslog:off", "-vconsole:warn"}
	// It has set the version when it has read the database and made the bridges.
	d.ready = func(ctx context.Context) error {
		_, err := h.Exec(ctx, "ovs-appctl", "--timeout=5", "version")
		if err == nil {
			_, err = h.Exec(ctx, "ovs-vsctl", "--timeout=30", "set", "open_vswitch", ".", fmt.Sprintf("external_ids:lab-started=%d", d.PID()))
		}
		return err
	}
	return d
}

// RestartOVS does what a package upgrade does: both daemons end and start again. On the userspace datapath nothing is
// forwarded meanwhile.
func (h *Host) RestartOVS(ctx context.Context) error {
	if err := h.StopOVS(ctx); err != nil {
		return err
	}
	return h.RunOVS(ctx)
}

// RunOVS starts both daemons where they have been stopped or killed.
func (h *Host) RunOVS(ctx context.Context) error {
	if err := h.ovsdb().Start(ctx); err != nil {
		return err
	}
	return h.vswitchd().Start(ctx)
}

// KillOVS kills both daemons, as a crash does.
func (h *Host) KillOVS(ctx context.Context) error {
	return errors.Join(h.vswitchd().Kill(ctx, syscall.SIGKILL), h.ovsdb().Kill(ctx, syscall.SIGKILL))
}

// StopOVS ends both daemons.
func (h *Host) StopOVS(ctx context.Context) error {
	return errors.Join(h.vswitchd().Stop(ctx), h.ovsdb().Stop(ctx))
}

// Vsctl runs ovs-vsctl on the host.
func (h *Host) Vsctl(ctx context.Context, args ...string) (string, error) {
	out, err := h.Exec(ctx, append([]string{"ovs-vsctl", "--timeout=30"}, args...)...)
	return strings.TrimSpace(out), err
}
