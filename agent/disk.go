package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
		err = replace(path, data)
	}
	if err != nil {
		return fmt.Errorf("keep %s: %w", what, err)
	}
	return nil
}

// replace has the content on the disk before the name leads to it, and the name before it returns.
func replace(path string, content []byte) error {
	next, err := os.OpenFile(path+".next", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = next.Write(content)
	if err = errors.Join(err, next.Sync(), next.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".next", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
