package program

import (
	"log/slog"

	"github.com/coreos/go-systemd/v22/daemon"
)

// NotifyReady tells systemd that the service has started, if its unit is of Type=notify (sd_notify(3)). Processes that this one starts do not
// inherit the socket.
func NotifyReady(log *slog.Logger) {
	if _, err := daemon.SdNotify(true, daemon.SdNotifyReady); err != nil {
		log.Warn("systemd was not told that the service is ready", "error", err)
	}
}
