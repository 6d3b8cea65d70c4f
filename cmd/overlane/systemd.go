package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/overlane/overlane/agent/local"
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
Type=notify
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

// agentLog is where an agent writes that no service manager looks after.
const agentLog = "/var/log/overlane-agent.log"

// startAgent has systemd run the agent, now and at every boot. On a machine without systemd it starts the agent in the background, for
// once; told not to start it, it says what to run.
func (e *env) startAgent(ctx context.Context, config string, noStart bool) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	_, err = os.Stat("/run/systemd/system") // sd_booted(3)
	switch {
	case noStart:
		fmt.Fprintf(e.out, "start the agent with: %s agent --config %s\n", self, config)
		return nil
	case err != nil:
		return e.spawnAgent(ctx, self, config)
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

// spawnAgent starts an agent that outlives this program, and waits until it takes calls.
func (e *env) spawnAgent(ctx context.Context, self, config string) error {
	parsed, err := local.ReadConfig(config)
	if err != nil {
		return err
	}
	running := func() bool {
		_, err := local.Client{Socket: parsed.Socket}.Status(ctx)
		return err == nil
	}
	if running() {
		fmt.Fprintln(e.out, "an agent runs already; restart it if the configuration has changed")
		return nil
	}
	log, err := os.OpenFile(agentLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	defer log.Close()
	c := exec.Command(self, "agent", "--config", config)
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // its state says how it ended
		close(ended)
	}()
	for {
		if running() {
			fmt.Fprintf(e.out, "the agent runs as process %d until the next boot (there is no systemd here); it writes %s\n", c.Process.Pid, agentLog)
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("the agent has ended (%s); %s says why", c.ProcessState, agentLog)
		case <-ctx.Done():
			return fmt.Errorf("wait for the agent: %w; %s says more", ctx.Err(), agentLog)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
