package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/overlane/overlane/view"
)

// The last complete view is on the host's disk, so that an agent that starts while the server is away can put back
// what is missing in the switch.

func (a *Agent) snapshotPath() string { return filepath.Join(a.config.State, "view.json") }

// loadSnapshot leaves the view empty where there is no snapshot, or one of another host.
func (a *Agent) loadSnapshot() error {
	data, err := os.ReadFile(a.snapshotPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the last view: %w", err)
	}
	var saved struct {
		Host string     `json:"host"`
		View view.Delta `json:"view"`
	}
	if err := json.Unmarshal(data, &saved); err != nil {
		return fmt.Errorf("read the last view %s: %w", a.snapshotPath(), err)
	}
	if saved.Host == a.config.Host {
		a.view.Apply(saved.View)
	}
	return nil
}

// saveSnapshot replaces the file in one step: a crash leaves the old one or the new one.
func (a *Agent) saveSnapshot() error {
	data, err := json.Marshal(map[string]any{"host": a.config.Host, "view": a.view.Delta(a.revision)})
	if err != nil {
		return fmt.Errorf("save the view: %w", err)
	}
	next := a.snapshotPath() + ".next"
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return fmt.Errorf("save the view: %w", err)
	}
	return os.Rename(next, a.snapshotPath())
}
