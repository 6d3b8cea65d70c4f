package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/overlane/overlane/internal/atomicfile"
)

// stateFile is JSON that an agent must not forget over a restart. The view has a file of another form (journal.go).
type stateFile struct {
	path string
	what string // the file has, for errors
	err  error  // of the last write; nil: the file is as it must be
}

// read fills v, if the file is there.
func (f *stateFile) read(v any) (found bool, err error) {
	data, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return false, fmt.Errorf("read %s %s: %w", f.what, f.path, err)
	}
	return true, nil
}

func (f *stateFile) write(v any) error {
	data, err := json.Marshal(v)
	if err == nil {
		err = atomicfile.Write(f.path, data, 0o600)
	}
	if f.err = err; err != nil {
		f.err = fmt.Errorf("keep %s: %w", f.what, err)
	}
	return f.err
}

// again saves what could not be written before.
func (f *stateFile) again(save func() error) error {
	if f.err == nil {
		return nil
	}
	return save()
}
