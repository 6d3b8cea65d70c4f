package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/overlane/overlane/client"
)

// unitPath is where the agent's unit goes. KillMode=process: what the agent has plugged in goes on without it.
const unitPath = "/etc/systemd/system/overlane-agent.service"

const unitText = `[Unit]
Description=Overlane agent: keeps this host's switch at what the intent says
Documentation=https://github.com/overlane/overlane
After=network-online.target openvswitch-switch.service
Wants=network-online.target openvswitch-switch.service

[Service]
ExecStart=%s agent --config %s
Restart=always
RestartSec=1
KillMode=process
RuntimeDirectory=overlane
RuntimeDirectoryPreserve=yes
StateDirectory=overlane

[Install]
WantedBy=multi-user.target
`

// startAgent has systemd run the agent, now and at every boot. On a machine without systemd, or if told not to, it says
// what to run.
func (e *env) startAgent(ctx context.Context, config string, noStart bool) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if _, err := os.Stat("/run/systemd/system"); noStart || err != nil { // sd_booted(3)
		fmt.Fprintf(e.out, "start the agent with: %s agent --config %s\n", self, config)
		return nil
	}
	if err := client.WriteFile(unitPath, fmt.Appendf(nil, unitText, self, config), 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{{"daemon-reload"}, {"enable", "overlane-agent"}, {"restart", "overlane-agent"}} {
		if output, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("start the agent: systemctl %s: %w: %s", args[0], err, output)
		}
	}
	fmt.Fprintln(e.out, "the agent runs: systemctl status overlane-agent")
	return nil
}
