package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/overlane/overlane/internal/atomicfile"
)

// What an agent must not forget over a restart, apart from its view, is JSON in a file of its own each.

// readState fills v from such a file, if there is one. What says in the error what the file has.
func readState(path, what string, v any) (found bool, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return false, fmt.Errorf("read %s %s: %w", what, path, err)
	}
	return true, nil
}

func writeState(path, what string, v any) error {
	data, err := json.Marshal(v)
	if err == nil {
		err = atomicfile.Write(path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep %s: %w", what, err)
	}
	return nil
}
