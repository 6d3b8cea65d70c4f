package ovs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// Appctl sends commands to ovs-vswitchd that neither OVSDB nor OpenFlow has, as ovs-appctl(8) does.
type Appctl struct {
	RunDir string // of Open vSwitch; /var/run/openvswitch
}

// LimitZones limits the number of connections in each of the given conntrack zones; a connection beyond the limit is
// not translated. The limits are lost when ovs-vswitchd ends.
func (a Appctl) LimitZones(ctx context.Context, datapath string, zones []uint16, limit int) error {
	for _, zone := range zones {
		if _, err := a.call(ctx, "dpctl/ct-set-limits", datapathNames[datapath], fmt.Sprintf("zone=%d,limit=%d", zone, limit)); err != nil {
			return fmt.Errorf("limit the connections of zone %d: %w", zone, err)
		}
	}
	return nil
}

// datapathNames are what dpctl calls the one datapath of each type (ovs-dpctl(8)).
var datapathNames = map[string]string{Kernel: "system@ovs-system", Userspace: "netdev@ovs-netdev"}

// call is one call of the unixctl protocol: JSON-RPC 1.0 on a unix socket that is named by the process's ID
// (ovs-appctl(8), "COMMON COMMANDS").
func (a Appctl) call(ctx context.Context, method string, params ...string) (string, error) {
	pid, err := os.ReadFile(filepath.Join(a.RunDir, "ovs-vswitchd.pid"))
	if err != nil {
		return "", fmt.Errorf("find ovs-vswitchd: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", filepath.Join(a.RunDir, "ovs-vswitchd."+strings.TrimSpace(string(pid))+".ctl"))
	if err != nil {
		return "", err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	request := map[string]any{"id": 0, "method": method, "params": params}
	if err := json.NewEncoder(c).Encode(request); err != nil {
		return "", errors.Join(err, ctx.Err())
	}
	var reply struct {
		Result *string `json:"result"`
		Error  *string `json:"error"`
	}
	if err := json.NewDecoder(c).Decode(&reply); err != nil {
		return "", errors.Join(fmt.Errorf("%s: %w", method, err), ctx.Err())
	}
	switch {
	case reply.Error != nil:
		return "", fmt.Errorf("%s: %s", method, strings.TrimSpace(*reply.Error))
	case reply.Result == nil:
		return "", fmt.Errorf("%s: no result", method)
	}
	return *reply.Result, nil
}
